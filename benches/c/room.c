/* The C reference of a room: what any member sends goes to every member. The messages of one turn are
 * gathered, so each member gets one system call per turn; a member that cannot take them keeps them in
 * a bounded queue of its own, and what does not fit there is dropped for that member.
 * usage: room ADDRESS */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, BUFFER = 65536, TURN = 1 << 20, QUEUE = 1 << 20, MOST_MEMBERS = 20000 };

struct member {
    int fd;
    size_t kept, queued;
    unsigned char *partial; /* unfinished frame, `kept` bytes */
    unsigned char *queue;   /* what the kernel did not take, `queued` bytes of QUEUE */
};

static struct member *members[MOST_MEMBERS];
static size_t member_count, turn_size;
static unsigned char turn[TURN];
static int epoll;

static void watch(struct member *member, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = member};
    epoll_ctl(epoll, EPOLL_CTL_MOD, member->fd, &event);
}

static void leave(struct member *member) {
    for (size_t i = 0; i < member_count; i++)
        if (members[i] == member) members[i] = members[--member_count];
    close(member->fd);
    free(member->partial);
    free(member->queue);
    free(member);
}

static void flush_queue(struct member *member) {
    ssize_t sent = send(member->fd, member->queue, member->queued, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return;
    member->queued -= (size_t)sent;
    memmove(member->queue, member->queue + sent, member->queued);
    if (member->queued == 0) watch(member, EPOLLIN);
}

static void deliver(struct member *member) {
    size_t sent = 0;
    if (member->queued == 0) {
        ssize_t taken = send(member->fd, turn, turn_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken > 0) sent = (size_t)taken;
        if (sent == turn_size || (taken < 0 && errno != EAGAIN)) return;
        if (!member->queue) member->queue = malloc(QUEUE);
        watch(member, EPOLLIN | EPOLLOUT);
    }
    if (member->queued + turn_size - sent > QUEUE) return;
    memcpy(member->queue + member->queued, turn + sent, turn_size - sent);
    member->queued += turn_size - sent;
}

static void broadcast_turn(void) {
    if (turn_size == 0) return;
    for (size_t i = 0; i < member_count; i++) deliver(members[i]);
    turn_size = 0;
}

static void receive(struct member *member) {
    static unsigned char buffer[BUFFER];
    size_t have = member->kept, whole = 0;
    if (have) memcpy(buffer, member->partial, have);
    ssize_t got = recv(member->fd, buffer + have, sizeof buffer - have, 0);
    if (got <= 0) {
        leave(member);
        return;
    }
    have += (size_t)got;
    while (have - whole >= 4) {
        uint32_t size;
        memcpy(&size, buffer + whole, 4);
        size = ntohl(size);
        if (size > sizeof buffer - 4) fail("a frame too long");
        if (have - whole - 4 < size) break;
        whole += 4 + size;
    }
    if (turn_size + whole > TURN) broadcast_turn();
    memcpy(turn + turn_size, buffer, whole);
    turn_size += whole;
    free(member->partial);
    member->partial = NULL;
    member->kept = have - whole;
    if (member->kept) {
        member->partial = malloc(member->kept);
        memcpy(member->partial, buffer + whole, member->kept);
    }
}

int main(int count, char **words) {
    if (count != 2) fail("usage: room ADDRESS");
    int listener = listen_at(words[1]);
    epoll = epoll_create1(0);
    set_nonblocking(listener);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1), fd;
        for (int k = 0; k < ready; k++) {
            struct member *member = events[k].data.ptr;
            if (member && events[k].events & EPOLLOUT) flush_queue(member);
            if (member && events[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(member);
            if (member) continue;
            while (member_count < MOST_MEMBERS &&
                   (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                set_nodelay(fd);
                member = calloc(1, sizeof *member);
                member->fd = fd;
                members[member_count++] = member;
                struct epoll_event added = {.events = EPOLLIN, .data.ptr = member};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &added);
            }
        }
        broadcast_turn();
    }
}
