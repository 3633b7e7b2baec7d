"""Rooms: many members who hear what each of them says, whatever program each of them is.

room        one room: members, topic, sequences, who may; pure
lines       how a program without a protocol chats, and what it is shown; pure
outlet      what rooms ask of each kind of member
plain       members without a protocol
writer      what is said in durable rooms on its way to the store
rooms       the rooms of one hub: the part that it is made of
"""
