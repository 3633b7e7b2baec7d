#!/bin/bash
# What an operator does with thirty devices, by the hub's commands alone. `test_thirty_devices.py` runs its steps.
#
#   dial DIRECTORY    call the serial devices, whose lines are in DIRECTORY
#   talk WORD STEP    tell WORD to every STEPth device by its name, to all by a pattern, to some by a tag
#   ask               ask all for their version: one table
#   wave              in waves of five, halted at the first that has another version
set -eu

case $1 in
dial)
    for number in 24 25 26 27 28 29; do
        jackfield dial "serial://$2/dev$number?framing=line" --name "dev$number"
    done
    ;;
talk)
    for number in $(seq -w 1 "$3" 29); do
        jackfield send "dev$number" "dev$number: $2 alone"
    done
    jackfield send 'dev*' "all: $2 by a pattern"
    jackfield tag dev02,dev16,dev25 hall
    jackfield send tag:hall "all: $2 by a tag"
    ;;
ask)
    jackfield send 'dev*' 'version?' --expect 'version [0-9.]+' --timeout 30s
    ;;
wave)
    jackfield send 'dev*' 'version?' --expect 'version 1\.4' --timeout 30s --wave 5 --halt-on 1
    ;;
esac
