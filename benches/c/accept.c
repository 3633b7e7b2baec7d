/* The C reference of accepting: accept all that wait, close each, sleep in epoll.
 * usage: accept ADDRESS */
#define _GNU_SOURCE
#include "bench.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count != 2) fail("usage: accept ADDRESS");
    int listener = listen_at(words[1]), epoll = epoll_create1(0);
    set_nonblocking(listener);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        epoll_wait(epoll, &event, 1, -1);
        int fd;
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) close(fd);
    }
}
