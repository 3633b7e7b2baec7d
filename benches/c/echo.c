/* The C reference of a server: epoll, u32 frames, each whole message is answered with itself.
 * usage: echo ADDRESS */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, BUFFER = 262144 };

struct connection {
    int fd;
    size_t kept; /* bytes of an unfinished frame, in `partial`, which only exists then */
    unsigned char *partial;
};

static void close_connection(struct connection *connection) {
    close(connection->fd);
    free(connection->partial);
    free(connection);
}

static void serve(struct connection *connection) {
    static unsigned char buffer[BUFFER];
    size_t have = connection->kept, whole = 0;
    if (have) memcpy(buffer, connection->partial, have);
    ssize_t got = recv(connection->fd, buffer + have, sizeof buffer - have, 0);
    if (got <= 0) {
        close_connection(connection);
        return;
    }
    have += (size_t)got;
    while (have - whole >= 4) {
        uint32_t size;
        memcpy(&size, buffer + whole, 4);
        size = ntohl(size);
        if (size > sizeof buffer - 4) {
            close_connection(connection);
            return;
        }
        if (have - whole - 4 < size) break;
        whole += 4 + size;
    }
    if (whole && !try_send_all(connection->fd, buffer, whole)) {
        close_connection(connection);
        return;
    }
    free(connection->partial);
    connection->partial = NULL;
    connection->kept = have - whole;
    if (connection->kept) {
        connection->partial = malloc(connection->kept);
        memcpy(connection->partial, buffer + whole, connection->kept);
    }
}

int main(int count, char **words) {
    if (count != 2) fail("usage: echo ADDRESS");
    int listener = listen_at(words[1]), epoll = epoll_create1(0);
    set_nonblocking(listener);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int k = 0; k < ready; k++) {
            if (events[k].data.ptr) {
                serve(events[k].data.ptr);
                continue;
            }
            int fd;
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                set_nodelay(fd);
                struct connection *connection = calloc(1, sizeof *connection);
                connection->fd = fd;
                struct epoll_event added = {.events = EPOLLIN, .data.ptr = connection};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &added);
            }
        }
    }
}
