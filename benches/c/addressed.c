/* Addressed round trips: MEMBERS connections that answer, and one more that asks them in turn, with FLIGHT questions under
 * way. All of them are in this program; whoever is asked sends back what it got. Native clients acknowledge along with it.
 * WIRE is native (a stream to each member), nats (a subject for each), or hub (u32 length, u32 whom, payload: the other one
 * is sent u32 length, u32 from whom, payload; connections are numbered from 0 in their order, and told so).
 * usage: addressed ADDRESS WIRE MEMBERS SIZE FLIGHT SECONDS */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MAX_EVENTS = 256, BUFFER = 262144, STALLED_MS = 2000, ACK_AFTER = 16, OPEN = 1, DATA = 2, CREDIT = 5, ACK = 6 };
enum protocol { NATIVE, NATS, HUB };
static const double WARM_UP = 0.2;

struct peer {
    int fd;
    size_t kept;
    unsigned char *partial;
    uint64_t counted, unacknowledged;
};

static enum protocol protocol;
static size_t members, size;
static struct peer *peers; /* the last one asks */
static unsigned char out[2 * BUFFER];
static size_t out_size;
static size_t granted;

static void put(const void *bytes, size_t count) {
    if (out_size + count > sizeof out) fail("too much at once");
    memcpy(out + out_size, bytes, count);
    out_size += count;
}

static void put_native(uint32_t stream, int kind, const void *payload, size_t count) {
    uint32_t head[3] = {htonl((uint32_t)(8 + count)), htonl(stream), htonl((uint32_t)kind << 24)};
    put(head, 12);
    put(payload, count);
}

static void ask(size_t whom) {
    static unsigned char payload[65536];
    if (protocol == NATIVE) put_native((uint32_t)(2 * whom + 1), DATA, payload, size);
    if (protocol == HUB) {
        uint32_t head[2] = {htonl((uint32_t)(4 + size)), htonl((uint32_t)whom)};
        put(head, 8);
        put(payload, size);
    }
    if (protocol == NATS) {
        char head[64];
        put(head, (size_t)snprintf(head, sizeof head, "PUB m.%05zu r %zu\r\n", whom, size));
        put(payload, size);
        put("\r\n", 2);
    }
}

/* How long the unit is that these bytes begin; 0 if they do not tell yet. */
static size_t unit(const unsigned char *data, size_t have) {
    if (protocol != NATS) {
        uint32_t length;
        if (have < 4) return 0;
        memcpy(&length, data, 4);
        return 4 + ntohl(length);
    }
    const unsigned char *end = memchr(data, '\n', have);
    if (!end) return 0;
    size_t head = (size_t)(end - data) + 1;
    return data[0] == 'M' ? head + size + 2 : head;
}

/* Takes one unit; 1 if it is an answer. What is to be sent back goes to `out`. */
static int take(struct peer *peer, const unsigned char *data, size_t length, int asks) {
    if (protocol == HUB) {
        if (!asks) put(data, length);
        return 1;
    }
    if (protocol == NATS) {
        if (data[0] == 'P' && data[1] == 'I') put("PONG\r\n", 6);
        if (data[0] != 'M') return 0;
        if (!asks) {
            char head[32];
            put(head, (size_t)snprintf(head, sizeof head, "PUB r %zu\r\n", size));
            put(data + length - size - 2, size + 2);
        }
        return 1;
    }
    int kind = data[8];
    if (kind <= CREDIT && ++peer->unacknowledged >= ACK_AFTER) {
        peer->counted += peer->unacknowledged;
        peer->unacknowledged = 0;
        uint32_t number[2] = {0, htonl((uint32_t)peer->counted)};
        put_native(0, ACK, number, 8);
    }
    if (kind == CREDIT && asks) granted++;
    if (kind == OPEN) {
        uint32_t stream, much = htonl(1 << 30);
        memcpy(&stream, data + 4, 4);
        put_native(ntohl(stream), CREDIT, &much, 4);
    }
    if (kind != DATA) return 0;
    if (!asks) put(data, length);
    return 1;
}

static size_t receive(struct peer *peer, int asks) {
    static unsigned char buffer[BUFFER];
    size_t have = peer->kept, at = 0, answers = 0, next;
    if (have) memcpy(buffer, peer->partial, have);
    ssize_t got = recv(peer->fd, buffer + have, sizeof buffer - have, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got == 0) errno = 0;
    if (got <= 0) fail("a connection is lost");
    have += (size_t)got;
    while ((next = unit(buffer + at, have - at)) != 0 && next <= have - at) {
        answers += (size_t)take(peer, buffer + at, next, asks);
        at += next;
    }
    peer->kept = have - at;
    if (peer->kept) {
        peer->partial = realloc(peer->partial, peer->kept);
        memcpy(peer->partial, buffer + at, peer->kept);
    }
    return answers;
}

static void flush(struct peer *peer) {
    if (out_size) send_all(peer->fd, out, out_size);
    out_size = 0;
}

static void expect_line(int fd, const char *word) {
    char byte, line[8] = "";
    for (size_t n = 0;; n++) {
        receive_exactly(fd, &byte, 1);
        if (n < 7) line[n] = byte;
        if (byte == '\n') break;
    }
    errno = 0;
    if (strncmp(line, word, strlen(word)) != 0) fail("the server said %s and not %s", line, word);
}

static void greet(int fd, size_t index) {
    if (protocol == NATIVE) handshake(fd, WIRE_NATIVE, "");
    if (protocol == HUB) {
        uint32_t told[2];
        receive_exactly(fd, told, 8);
        if (ntohl(told[1]) != index) fail("connection %zu is number %u", index, ntohl(told[1]));
    }
    if (protocol == NATS) {
        char hello[128], subject[16] = "r";
        if (index < members) snprintf(subject, sizeof subject, "m.%05zu", index);
        expect_line(fd, "INFO");
        int length = snprintf(hello, sizeof hello, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB %s 1\r\nPING\r\n", subject);
        send_all(fd, hello, (size_t)length);
        expect_line(fd, "PONG");
    }
}

int main(int count, char **words) {
    if (count != 7) fail("usage: addressed ADDRESS native|nats|hub MEMBERS SIZE FLIGHT SECONDS");
    protocol = strcmp(words[2], "native") == 0 ? NATIVE : strcmp(words[2], "nats") == 0 ? NATS : HUB;
    members = (size_t)atoi(words[3]);
    size = (size_t)atoi(words[4]);
    size_t flight = (size_t)atoi(words[5]), next = 0;
    double seconds = atof(words[6]);
    int epoll = epoll_create1(0);
    peers = calloc(members + 1, sizeof *peers);
    for (size_t i = 0; i <= members; i++) {
        peers[i].fd = connect_to(words[1], 0);
        greet(peers[i].fd, i);
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, peers[i].fd, &event);
    }
    struct peer *asking = &peers[members];
    if (protocol == NATIVE)
        for (size_t i = 0; i < members; i++) {
            char open[64];
            int length = snprintf(open, sizeof open, "{\"to\":%zu,\"service\":\"channel\",\"credit\":%d}", i, 1 << 30);
            put_native((uint32_t)(2 * i + 1), OPEN, open, (size_t)length);
        }
    flush(asking);
    uint64_t answered = 0;
    double start = 0, end = 0;
    int begun = 0, warm = 0;
    for (;;) {
        if (!begun && (protocol != NATIVE || granted == members)) {
            for (size_t n = 0; n < flight; n++) ask(next++ % members);
            flush(asking);
            begun = 1;
            start = now();
            end = start + WARM_UP;
        }
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(epoll, events, MAX_EVENTS, STALLED_MS);
        errno = 0;
        if (ready == 0) fail("stalled");
        for (int k = 0; k < ready; k++) {
            struct peer *peer = &peers[events[k].data.u64];
            size_t answers = receive(peer, peer == asking);
            if (peer == asking) {
                answered += answers;
                for (size_t n = 0; begun && n < answers; n++) ask(next++ % members);
            }
            flush(peer);
        }
        if (!begun) continue;
        double time = now();
        if (time < end) continue;
        if (warm) {
            report(answered, time - start);
            return 0;
        }
        warm = 1;
        answered = 0;
        start = time;
        end = start + seconds;
    }
}
