"""Recordings: what clients said and were told, with times, in a file. docs/recording.md describes it.

    from jackfield.recording import Data, read

    for record in read("night.jfrec"):
        if isinstance(record, Data) and record.direction == "in":
            print(record.time, record.ref, record.data)

An application that knows neither the hub nor any socket; its modules are pure but for `file` and `index`:

    records     the kinds of records, as values
    encoding    records -> bytes; the format
    decoding    bytes -> records, from whole, cut and damaged files
    tape        records that wait to be written, in bounded memory, with what did not fit counted
    file        reading and appending
    packets     what a client said -> IP packets as they might have been
    pcapng      records -> a capture file that Wireshark opens
    capture     such a capture file -> records
    index       a recording that is read in any order: the messages of each connection
    playing     one side of a connection, said again at the recorded times
    comparing   answers against the recorded ones
    retention   which files of a log directory go, and when a new one begins
"""

from .decoding import Decoder, NotARecording
from .encoding import Encoder
from .file import read
from .records import Client, Closed, Damaged, Data, Happened, Left, Lost, Opened, Record

__all__ = [
    "Client",
    "Closed",
    "Damaged",
    "Data",
    "Decoder",
    "Encoder",
    "Happened",
    "Left",
    "Lost",
    "NotARecording",
    "Opened",
    "Record",
    "read",
]
