/* The members of a room: MEMBERS connections that count what they are sent. One of them (or, when a
 * PUBLISH_ADDRESS is given, a separate connection, as ZMTP and Redis need it) publishes bursts of BURST messages, one
 * system call each; the next burst follows when every member has the whole of the last. Whole bursts,
 * because a window that slides settles into gathers of one size or another by chance.
 * usage: members ADDRESS WIRE MEMBERS SIZE BURST SECONDS [PUBLISH_ADDRESS] */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MAX_EVENTS = 256, BUFFER = 262144, RETRY_MS = 50, RETRIES = 100, QUIET_MS = 50, STALLED_MS = 2000 };
static const double WARM_UP = 0.1;

static int epoll, *fds;
static struct parser *parsers;
static uint64_t *received, total;

/* Takes what has arrived within `timeout` ms; 0 when nothing has. */
static int receive_some(int timeout) {
    static unsigned char buffer[BUFFER];
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(epoll, events, MAX_EVENTS, timeout);
    for (int k = 0; k < ready; k++) {
        size_t i = events[k].data.u64;
        ssize_t got = recv(fds[i], buffer, sizeof buffer, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) continue;
        if (got == 0) errno = 0;
        if (got <= 0) fail("member %zu lost its connection", i);
        uint64_t messages = parse_messages(&parsers[i], buffer, (size_t)got);
        received[i] += messages;
        total += messages;
    }
    return ready;
}

int main(int count, char **words) {
    if (count != 7 && count != 8) fail("usage: members ADDRESS WIRE MEMBERS SIZE BURST SECONDS [PUBLISH_ADDRESS]");
    enum wire wire = wire_named(words[2]);
    size_t members = (size_t)atoi(words[3]), size = (size_t)atoi(words[4]), burst = (size_t)atoi(words[5]);
    size_t batch_size = 0, one;
    double seconds = atof(words[6]);

    unsigned char *batch = malloc(burst * (size + OVERHEAD));
    for (size_t i = 0; i < burst; i++) batch_size += encode_frame(batch + batch_size, wire, size);
    one = batch_size / burst;
    fds = calloc(members, sizeof *fds);
    parsers = calloc(members, sizeof *parsers);
    received = calloc(members, sizeof *received);
    epoll = epoll_create1(0);
    for (size_t i = 0; i < members; i++) {
        fds[i] = connect_to(words[1], 0);
        handshake(fds[i], wire, "SUB");
        parsers[i].wire = wire;
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    int publisher = fds[0];
    if (count == 8) {
        publisher = connect_to(words[7], 0);
        handshake(publisher, wire, "PUSH");
    }

    /* Everyone has joined once everyone has heard something; then wait until all is quiet. */
    size_t joined = 0;
    for (int attempt = 0; joined < members; attempt++) {
        errno = 0;
        if (attempt == RETRIES) fail("only %zu of %zu members receive", joined, members);
        send_all(publisher, batch, one);
        while (receive_some(RETRY_MS) > 0) continue;
        for (joined = 0; joined < members && received[joined] > 0; joined++) continue;
    }
    while (receive_some(QUIET_MS) > 0) continue;

    uint64_t sent = total = 0, skipped = 0;
    double start = now(), end = start + WARM_UP;
    for (int warm = 0;;) {
        if (total == sent * members) {
            send_all(publisher, batch, batch_size);
            sent += burst;
        }
        if (receive_some(STALLED_MS) == 0) {
            errno = 0;
            fail("stalled: %" PRIu64 " of %" PRIu64 " deliveries came, the rest was dropped", total, sent * members);
        }
        double time = now();
        if (time < end) continue;
        if (warm) {
            report(total - skipped, time - start);
            return 0;
        }
        warm = 1;
        skipped = total;
        start = time;
        end = start + seconds;
    }
}
