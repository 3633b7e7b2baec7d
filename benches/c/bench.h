/* What the small C programs of the benchmark suite share: addresses, time, and the three ways that
 * a 64-byte message is framed on the wire. Every peer is loaded by the same programs; only the
 * framing differs: u32 (raw sockets), WebSocket (picows), ZMTP 3.0 (pyzmq), Jackfield's protocol, and the text protocols of
 * NATS and Redis.
 *
 * Errors end the program with one line on stderr: the suite reports it as the contender's error. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum wire { WIRE_U32, WIRE_WEBSOCKET, WIRE_ZMTP, WIRE_NATIVE, WIRE_NATS, WIRE_REDIS };

/* Counts whole messages in a byte stream, however it is cut. `header` is only used across cuts. */
struct parser {
    enum wire wire;
    int command;        /* the frame in progress is a ZMTP command or a WebSocket control frame */
    uint64_t left;      /* payload bytes of the frame in progress that have not come yet */
    size_t have;        /* header bytes collected so far */
    unsigned char header[16];
    uint64_t last_size; /* payload length of the last whole message */
};

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
double now(void);
enum wire wire_named(const char *name);

/* listen_at prints "ready ADDRESS" once the socket listens. connect_to is blocking; `index` spreads
 * many connections over 127.0.0.2, 127.0.0.3 ... so that ephemeral ports suffice; 0 does not bind. */
int listen_at(const char *address);
int connect_to(const char *address, unsigned index);
int start_connecting(const char *address); /* non-blocking; the caller waits for readiness */
void set_congestion(int fd, const char *name); /* TCP_CONGESTION; "-" leaves the default */
void set_nonblocking(int fd);
void set_nodelay(int fd);

/* The client's side of opening a connection; `socket_type` is the ZMTP role ("DEALER", "SUB" ...). */
void handshake(int fd, enum wire wire, const char *socket_type);

/* Writes one frame with `size` bytes of payload to `out`, which has room for size + OVERHEAD: what is published on the one
 * room that there is, where the protocol has names. Called before messages are parsed. */
enum { OVERHEAD = 64 };
size_t encode_frame(unsigned char *out, enum wire wire, size_t size);

/* Number of messages completed by these bytes. */
uint64_t parse_messages(struct parser *parser, const unsigned char *data, size_t size);

/* Reads so much, or fails. */
void receive_exactly(int fd, void *into, size_t size);
void send_all(int fd, const void *data, size_t size);
int try_send_all(int fd, const void *data, size_t size); /* 0 once the peer is gone */
void report(uint64_t count, double seconds); /* one JSON line on stdout */

#endif
