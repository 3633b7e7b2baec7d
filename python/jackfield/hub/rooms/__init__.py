"""Rooms: many members who hear what each of them says, whatever program each of them is.

room        one room: members, topic, sequences, who may; pure
keeping     what each maker of rooms may have, and for how long rooms and messages are kept
lines       how a program without a protocol chats, and what it is shown; pure
outlet      what rooms ask of each kind of member
plain       members without a protocol
native_members  native clients as members; `controls` what they ask for
storage     where the rooms of a hub are kept
writer      what is said in durable rooms on its way to the store
store       what stores promise: messages, cursors, letters for the absent; `store_battery` checks it
memory_store, sqlite_store  the two stores; the latter's file is written by a process of its own
search_words  what people search for
rooms       the rooms of one hub: the part that it is made of
"""
