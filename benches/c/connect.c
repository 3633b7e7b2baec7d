/* Connects as often as the server accepts: IN_FLIGHT attempts at once, each counted when the server has
 * closed it, or has sent its first byte (a ZMTP server greets). We end with a reset, which leaves
 * no TIME_WAIT behind, so ports last.
 * usage: connect ADDRESS SECONDS */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_FLIGHT = 64 };
static const double WARM_UP = 0.1;

int main(int count, char **words) {
    if (count != 3) fail("usage: connect ADDRESS SECONDS");
    double seconds = atof(words[2]);
    int epoll = epoll_create1(0);
    uint64_t closed = 0;
    for (int i = 0; i < IN_FLIGHT; i++) {
        int fd = start_connecting(words[1]);
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
    double start = now(), end = start + WARM_UP;
    for (int warm = 0;;) {
        struct epoll_event events[IN_FLIGHT];
        int ready = epoll_wait(epoll, events, IN_FLIGHT, -1);
        for (int k = 0; k < ready; k++) {
            int fd = events[k].data.fd;
            char byte;
            if (recv(fd, &byte, 1, 0) < 0 && errno != ECONNRESET) fail("an attempt failed");
            struct linger reset = {.l_onoff = 1};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(fd);
            closed++;
            fd = start_connecting(words[1]);
            struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
        double time = now();
        if (time < end) continue;
        if (warm) {
            report(closed, time - start);
            return 0;
        }
        warm = 1;
        closed = 0;
        start = time;
        end = start + seconds;
    }
}
