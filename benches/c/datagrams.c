/* UDP one way, in C, in three manners:
 *
 *   messages  runs of datagrams cross the kernel as one (UDP_SEGMENT, UDP_GRO; udp(7)). Each datagram is a message of
 *             its own at both ends: copied into the run from where it lies, and out of it into memory of its own, from a
 *             pool. This is the least that any library does which gives out messages.
 *   raw       the same runs, but the same 64 KB leave again and again, and nobody looks at what arrives: what the
 *             kernel can do at most.
 *   mmsg      single datagrams, 64 in a call (sendmmsg, recvmmsg), and nobody looks at them.
 *
 * UDP has no flow control, so the two programs bring their own, the same for every contender: the sink tells its count
 * after each 256 datagrams, and the source is at most 2,048 ahead of it. The source so runs at the sink's pace, and what
 * is lost all the same is counted and reported. A datagram of one byte asks for the count at once.
 * usage: datagrams sink ADDRESS MANNER        datagrams source ADDRESS MANNER SIZE SECONDS */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MESSAGES = 256 };
enum { WINDOW = 2048, CREDIT = 256, BATCH = 64, LARGEST = 65536, BUFFER = 4 << 20, STALL_MS = 200 };
enum { SEGMENT = 103, GRO = 104 }; /* UDP_SEGMENT, UDP_GRO, which older headers lack */

static struct sockaddr_in parse(const char *text) {
    char host[64];
    unsigned port;
    struct sockaddr_in at = {.sin_family = AF_INET};
    errno = 0;
    if (sscanf(text, "udp://%63[0-9.]:%u", host, &port) != 2) fail("not an address: %s", text);
    at.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1) fail("not an IPv4 host: %s", text);
    return at;
}

static int open_udp(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

static void tell(int fd, const struct sockaddr_in *to, uint64_t total) {
    unsigned char message[8];
    for (int i = 0; i < 8; i++) message[i] = (unsigned char)(total >> (56 - 8 * i));
    sendto(fd, message, sizeof message, MSG_NOSIGNAL, (const struct sockaddr *)to, sizeof *to);
}

/* Puts each datagram of a message into memory of its own, which is used again when 512 more have come. */
static void keep(const unsigned char *data, size_t size, size_t segment) {
    static unsigned char *kept[512];
    static size_t next;
    for (size_t at = 0; at < size; at += segment, next = (next + 1) % 512) {
        if (!kept[next]) kept[next] = malloc(LARGEST);
        memcpy(kept[next], data + at, size - at < segment ? size - at : segment);
    }
}

static void sink(int fd, int offload, int keeps) {
    static unsigned char buffers[BATCH][LARGEST];
    static char controls[BATCH][64];
    struct sockaddr_in names[BATCH];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    uint64_t total = 0, told = 0;
    int yes = 1, batch = offload ? 4 : BATCH;
    if (offload && setsockopt(fd, IPPROTO_UDP, GRO, &yes, sizeof yes) < 0) fail("UDP_GRO");
    for (;;) {
        for (int i = 0; i < batch; i++) {
            parts[i] = (struct iovec){buffers[i], LARGEST};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &names[i], .msg_namelen = sizeof names[i],
                .msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = controls[i], .msg_controllen = sizeof controls[i]};
        }
        int got = recvmmsg(fd, messages, (unsigned)batch, MSG_WAITFORONE, NULL);
        if (got < 0) fail("recvmmsg");
        int asked = 0;
        for (int i = 0; i < got; i++) {
            unsigned size = messages[i].msg_len, segment = size;
            if (size == 1) {
                asked = 1;
                continue;
            }
            struct cmsghdr *control = CMSG_FIRSTHDR(&messages[i].msg_hdr);
            for (; control; control = CMSG_NXTHDR(&messages[i].msg_hdr, control))
                if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == GRO)
                    memcpy(&segment, CMSG_DATA(control), sizeof(int));
            total += segment ? (size + segment - 1) / segment : 1;
            if (keeps) keep(buffers[i], size, segment);
        }
        if (asked || total - told >= CREDIT) tell(fd, &names[got - 1], told = total);
    }
}

static uint64_t credit(int fd, int wait_ms, uint64_t known) {
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (wait_ms && poll(&readable, 1, wait_ms) <= 0) return known;
    unsigned char message[8];
    while (recv(fd, message, sizeof message, MSG_DONTWAIT) == sizeof message) {
        known = 0;
        for (int i = 0; i < 8; i++) known = known << 8 | message[i];
    }
    return known;
}

static void source(int fd, int offload, int keeps, size_t size, double seconds) {
    static unsigned char data[LARGEST], runs[4][LARGEST];
    unsigned char *lying[MESSAGES];
    for (int i = 0; i < MESSAGES; i++) lying[i] = memset(malloc(size), 'x', size);
    unsigned next = 0;
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    unsigned run = offload ? (unsigned)(65000 / size) : 1, batch = offload ? 4 : BATCH;
    if (run > 64) run = 64;
    memset(messages, 0, sizeof messages);
    for (unsigned i = 0; i < batch; i++) {
        parts[i] = (struct iovec){keeps ? runs[i] : data, size * run};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        if (!offload) continue;
        messages[i].msg_hdr.msg_control = control;
        messages[i].msg_hdr.msg_controllen = sizeof control;
    }
    if (offload) {
        struct cmsghdr *header = CMSG_FIRSTHDR(&messages[0].msg_hdr);
        header->cmsg_level = IPPROTO_UDP;
        header->cmsg_type = SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        uint16_t segment = (uint16_t)size;
        memcpy(CMSG_DATA(header), &segment, sizeof segment);
    }
    uint64_t sent = 0, received = 0, lost = 0;
    double start = now();
    while (now() - start < seconds) {
        if (sent - lost - received + batch * run > WINDOW) {
            uint64_t before = received;
            received = credit(fd, STALL_MS, received);
            if (received == before) lost = sent - received;
            continue;
        }
        for (unsigned i = 0; keeps && i < batch; i++)
            for (unsigned j = 0; j < run; j++) memcpy(runs[i] + j * size, lying[next++ % MESSAGES], size);
        int done = sendmmsg(fd, messages, batch, MSG_NOSIGNAL);
        if (done < 0 && errno != ECONNREFUSED) fail("sendmmsg");
        if (done > 0) sent += (uint64_t)done * run;
    }
    credit(fd, 0, 0);
    for (int tries = 0; tries < 20 && received < sent; tries++) {
        send(fd, "", 1, MSG_NOSIGNAL);
        received = credit(fd, STALL_MS, received);
    }
    double took = now() - start;
    printf("{\"count\": %" PRIu64 ", \"seconds\": %.9f, \"lost\": %" PRIu64 "}\n", received, took, sent - received);
    fflush(stdout);
}

int main(int count, char **words) {
    if (count != 4 && count != 6) fail("usage: datagrams sink|source ADDRESS messages|raw|mmsg [SIZE SECONDS]");
    struct sockaddr_in at = parse(words[2]);
    int fd = open_udp(), keeps = strcmp(words[3], "messages") == 0;
    int offload = keeps || strcmp(words[3], "raw") == 0;
    if (strcmp(words[1], "source") == 0 && count == 6) {
        if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0) fail("connect");
        source(fd, offload, keeps, (size_t)atoi(words[4]), atof(words[5]));
        return 0;
    }
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) fail("bind %s", words[2]);
    socklen_t length = sizeof at;
    getsockname(fd, (struct sockaddr *)&at, &length);
    printf("ready udp://127.0.0.1:%u\n", ntohs(at.sin_port));
    fflush(stdout);
    sink(fd, offload, keeps);
}
