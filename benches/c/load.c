/* Request/reply: CONNECTIONS connections, one request in flight on each. One connection is a blocking
 * ping-pong, the shortest path that C has.
 * usage: load ADDRESS WIRE CONNECTIONS SIZE SECONDS */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MAX_EVENTS = 256, BUFFER = 65536 };
static const double WARM_UP = 0.1;

int main(int count, char **words) {
    if (count != 6) fail("usage: load ADDRESS WIRE CONNECTIONS SIZE SECONDS");
    enum wire wire = wire_named(words[2]);
    size_t connections = (size_t)atoi(words[3]), size = (size_t)atoi(words[4]);
    double seconds = atof(words[5]);

    static unsigned char buffer[BUFFER];
    unsigned char *request = malloc(size + 16);
    size_t request_size = encode_frame(request, wire, size);
    struct parser *parsers = calloc(connections, sizeof *parsers);
    int *fds = calloc(connections, sizeof *fds), epoll = epoll_create1(0);
    for (size_t i = 0; i < connections; i++) {
        fds[i] = connect_to(words[1], 0);
        handshake(fds[i], wire, "DEALER");
        parsers[i].wire = wire;
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    for (size_t i = 0; i < connections; i++) send_all(fds[i], request, request_size);

    uint64_t replies = 0;
    double start = now(), end = start + WARM_UP;
    for (int warm = 0;;) {
        struct epoll_event events[MAX_EVENTS];
        int ready = 1;
        if (connections == 1) events[0].data.u64 = 0;
        else ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int k = 0; k < ready; k++) {
            size_t i = events[k].data.u64;
            ssize_t got = recv(fds[i], buffer, sizeof buffer, 0);
            if (got == 0) errno = 0;
            if (got <= 0) fail("the server closed a connection under load");
            if (parse_messages(&parsers[i], buffer, (size_t)got) == 0) continue;
            errno = 0;
            if (parsers[i].last_size != size) fail("a reply of the wrong length");
            replies++;
            send_all(fds[i], request, request_size);
        }
        double time = now();
        if (time < end) continue;
        if (warm) {
            report(replies, time - start);
            return 0;
        }
        warm = 1;
        replies = 0;
        start = time;
        end = start + seconds;
    }
}
