#!/bin/sh
# Publish a file, or delete a document, with kcat.  Needs kcat 1.6 or newer (Debian and Ubuntu: apt-get install kcat).
#
#   publish.sh BROKERS TOPIC KEY guide.md text/markdown
#   publish.sh BROKERS TOPIC KEY
set -eu
brokers=$1 topic=$2 key=$3

# librdkafka's own partitioner puts most keys elsewhere: without this option the record becomes a dead letter.
set -- "${4:-}" "${5:-text/plain}"
if [ -n "$1" ]; then
    kcat -P -b "$brokers" -t "$topic" -X partitioner=murmur2_random -k "$key" -H "content-type=$2" "$1"
else
    # A key with a tab and nothing behind it: -K splits there, -Z makes a null of the nothing.
    printf '%s\t' "$key" | kcat -P -b "$brokers" -t "$topic" -X partitioner=murmur2_random -K '\t' -Z
fi
