/* Sends messages as fast as they are taken, 64 KiB or one message per system call, then ends the
 * stream and waits for the receiver's own count, which must match: time runs until that answer.
 * The stream ends with a half-close (u32), a close frame (WebSocket) or a 1-byte message (ZMTP).
 * usage: source ADDRESS WIRE SIZE SECONDS CONGESTION */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { GATHER = 65536 };

static uint64_t read_count(int fd, enum wire wire) {
    unsigned char reply[64];
    size_t have = 0, header = wire == WIRE_U32 ? 4 : 2;
    while (have < header + 8) {
        ssize_t got = recv(fd, reply + have, sizeof reply - have, 0);
        if (got == 0) errno = 0;
        if (got <= 0) fail("the receiver ended without telling its count");
        have += (size_t)got;
    }
    uint64_t messages = 0;
    for (size_t i = 0; i < 8; i++) messages = messages << 8 | reply[header + i];
    return messages;
}

int main(int count, char **words) {
    if (count != 6) fail("usage: source ADDRESS WIRE SIZE SECONDS CONGESTION");
    enum wire wire = wire_named(words[2]);
    size_t size = (size_t)atoi(words[3]), per_batch = size + 16 < GATHER ? GATHER / (size + 16) : 1;
    double seconds = atof(words[4]);
    unsigned char *batch = malloc(per_batch * (size + 16));
    size_t batch_size = 0;
    for (size_t i = 0; i < per_batch; i++) batch_size += encode_frame(batch + batch_size, wire, size);

    int fd = connect_to(words[1], 0);
    set_congestion(fd, words[5]);
    handshake(fd, wire, "DEALER");
    uint64_t sent = 0;
    double start = now();
    while (now() - start < seconds) {
        send_all(fd, batch, batch_size);
        sent += per_batch;
    }
    if (wire == WIRE_WEBSOCKET) send_all(fd, "\x88\x82\0\0\0\0\x03\xe8", 8);
    else if (wire == WIRE_ZMTP) send_all(fd, "\x00\x01" "e", 3);
    else shutdown(fd, SHUT_WR);
    uint64_t received = read_count(fd, wire);
    double took = now() - start;
    errno = 0;
    if (received != sent) fail("%" PRIu64 " messages sent, %" PRIu64 " received", sent, received);
    report(sent, took);
    return 0;
}
