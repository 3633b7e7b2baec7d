/* The C reference of a hub that relays to one of many: u32 length, u32 whom, payload; the other one is sent u32 length, u32
 * from whom, payload. Connections are numbered from 0 in their order, and told so. What goes to one connection in a turn is
 * one system call; what the kernel does not take waits in a bounded queue, and what does not fit there ends the connection.
 * usage: hub ADDRESS */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 1024, BUFFER = 262144, QUEUE = 4 << 20, MOST_CLIENTS = 20000, HEAD = 8 };

struct client {
    int fd, is_waiting;
    uint32_t number;
    size_t kept, queued, room;
    unsigned char *partial; /* unfinished frame, `kept` bytes */
    unsigned char *queue;   /* what is to leave, `queued` bytes of `room` */
};

static struct client *clients[MOST_CLIENTS];
static struct client *waiting[MOST_CLIENTS]; /* those with something to leave at the end of the turn */
static size_t client_count, waiting_count;
static int epoll;

static void leave(struct client *client) {
    clients[client->number] = NULL;
    close(client->fd);
    free(client->partial);
    free(client->queue);
    free(client);
}

static unsigned char *reserve(struct client *client, size_t size) {
    if (client->queued + size > QUEUE) return NULL;
    if (client->queued + size > client->room) {
        client->room = 2 * (client->queued + size);
        client->queue = realloc(client->queue, client->room);
    }
    if (!client->is_waiting) {
        client->is_waiting = 1;
        waiting[waiting_count++] = client;
    }
    unsigned char *at = client->queue + client->queued;
    client->queued += size;
    return at;
}

static void pass(struct client *from, const unsigned char *frame, size_t size) {
    uint32_t whom, number = htonl(from->number);
    memcpy(&whom, frame + 4, 4);
    whom = ntohl(whom);
    struct client *to = whom < client_count ? clients[whom] : NULL;
    unsigned char *at = to ? reserve(to, size) : NULL;
    if (!at) return;
    memcpy(at, frame, 4);
    memcpy(at + 4, &number, 4);
    memcpy(at + HEAD, frame + HEAD, size - HEAD);
}

static void flush(struct client *client) {
    ssize_t sent = send(client->fd, client->queue, client->queued, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) sent = (ssize_t)client->queued;
    if (sent > 0) {
        client->queued -= (size_t)sent;
        if (client->queued) memmove(client->queue, client->queue + sent, client->queued);
    }
}

static void flush_waiting(void) {
    for (size_t i = 0; i < waiting_count; i++) {
        waiting[i]->is_waiting = 0;
        flush(waiting[i]); /* what is left goes on at the next edge of EPOLLOUT */
    }
    waiting_count = 0;
}

static void receive(struct client *client) {
    static unsigned char buffer[BUFFER];
    size_t have = client->kept, at = 0;
    if (have) memcpy(buffer, client->partial, have);
    ssize_t got = recv(client->fd, buffer + have, sizeof buffer - have, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        flush_waiting();
        leave(client);
        return;
    }
    have += (size_t)got;
    while (have - at >= HEAD) {
        uint32_t size;
        memcpy(&size, buffer + at, 4);
        size = 4 + ntohl(size);
        if (size < HEAD || size > sizeof buffer / 2) fail("a frame of %u bytes", size);
        if (have - at < size) break;
        pass(client, buffer + at, size);
        at += size;
    }
    client->kept = have - at;
    if (client->kept) {
        client->partial = realloc(client->partial, client->kept);
        memcpy(client->partial, buffer + at, client->kept);
    }
}

static void greet(int fd) {
    struct client *client = calloc(1, sizeof *client);
    client->fd = fd;
    client->number = (uint32_t)client_count;
    clients[client_count++] = client;
    set_nodelay(fd);
    uint32_t told[2] = {htonl(4), htonl(client->number)};
    send_all(fd, told, sizeof told);
    struct epoll_event added = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &added);
}

int main(int count, char **words) {
    if (count != 2) fail("usage: hub ADDRESS");
    int listener = listen_at(words[1]), fd;
    epoll = epoll_create1(0);
    set_nonblocking(listener);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        static struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int k = 0; k < ready; k++) {
            struct client *client = events[k].data.ptr;
            if (client && events[k].events & EPOLLOUT && client->queued) flush(client);
            if (client && events[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(client);
            if (client) continue;
            while (client_count < MOST_CLIENTS && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) greet(fd);
        }
        flush_waiting();
    }
}
