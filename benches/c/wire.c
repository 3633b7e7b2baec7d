/* The framings: opening a connection, writing frames, counting messages. See bench.h. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void receive_exactly(int fd, void *into, size_t size) {
    char *at = into;
    while (size > 0) {
        ssize_t got = recv(fd, at, size, 0);
        if (got == 0) errno = 0;
        if (got <= 0) fail("the server closed the connection during the handshake");
        at += got;
        size -= (size_t)got;
    }
}

static void websocket_handshake(int fd) {
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    send_all(fd, request, sizeof request - 1);
    char last[4] = "", status[13] = "";
    for (size_t n = 0; memcmp(last, "\r\n\r\n", 4) != 0; n++) { /* byte by byte: nothing beyond is taken */
        memmove(last, last + 1, 3);
        receive_exactly(fd, last + 3, 1);
        if (n < 12) status[n] = last[3];
    }
    errno = 0;
    if (memcmp(status, "HTTP/1.1 101", 12) != 0) fail("WebSocket upgrade refused: %s", status);
}

/* ZMTP 3.0, NULL mechanism. As we announce minor version 0, the peer expects subscriptions as
 * messages that begin with 1. */
static void zmtp_handshake(int fd, const char *socket_type) {
    unsigned char greeting[64] = {0xff, [9] = 0x7f, [10] = 3, [12] = 'N', 'U', 'L', 'L'};
    send_all(fd, greeting, sizeof greeting);
    receive_exactly(fd, greeting, sizeof greeting);

    unsigned char ready[64] = "\x04\x00\x05READY\x0bSocket-Type\x00\x00\x00";
    size_t name = strlen(socket_type), size = 2 + 6 + 12 + 4 + name;
    ready[1] = (unsigned char)(size - 2);
    ready[2 + 6 + 12 + 3] = (unsigned char)name;
    memcpy(ready + 2 + 6 + 12 + 4, socket_type, name);
    send_all(fd, ready, size);

    unsigned char head[2], body[255];
    receive_exactly(fd, head, 2);
    receive_exactly(fd, body, head[1]);
    errno = 0;
    if (head[0] != 4 || memcmp(body, "\x05READY", 6) != 0) fail("the ZMTP peer did not say READY");
    if (strcmp(socket_type, "SUB") == 0) send_all(fd, "\x00\x01\x01", 3);
}

/* Magic and HELLO; the answer is the magic and one frame. */
static void native_handshake(int fd) {
    static const char hello[] = "{\"type\":\"hello\",\"versions\":[1],\"instance\":\"bench\",\"agent\":\"bench\",\"services\":[\"channel\"]}";
    unsigned char out[256] = {0, 0, 0, 8, 0x8f, 'J', 'A', 'C', 'K', 0x0d, 0x0a, 0x1a}, head[16], body[1024];
    size_t size = sizeof hello - 1, used = 12;
    used += 3;
    out[used++] = (unsigned char)(size + 8);
    memset(out + used, 0, 8);
    memcpy(out + used + 8, hello, size);
    send_all(fd, out, used + 8 + size);
    receive_exactly(fd, head, 16);
    size = (size_t)head[14] << 8 | head[15];
    errno = 0;
    if (memcmp(head, out, 12) != 0 || size > sizeof body) fail("the server does not speak the Jackfield protocol");
    receive_exactly(fd, body, size);
}

/* To the end of a line, byte by byte. */
static void skip_line(int fd, const char *begins) {
    char byte, line[8] = "";
    size_t have = 0;
    do {
        receive_exactly(fd, &byte, 1);
        if (have < sizeof line - 1) line[have++] = byte;
    } while (byte != '\n');
    errno = 0;
    if (strncmp(line, begins, strlen(begins)) != 0) fail("the server said %s instead of %s", line, begins);
}

static void nats_handshake(int fd) {
    static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB room 1\r\nPING\r\n";
    skip_line(fd, "INFO");
    send_all(fd, hello, sizeof hello - 1);
    skip_line(fd, "PONG");
}

static void redis_handshake(int fd, const char *socket_type) {
    if (strcmp(socket_type, "SUB") != 0) {
        send_all(fd, "CLIENT REPLY OFF\r\n", 18);
        return;
    }
    send_all(fd, "SUBSCRIBE room\r\n", 16);
    for (int line = 0; line < 6; line++) skip_line(fd, "");
}

void handshake(int fd, enum wire wire, const char *socket_type) {
    if (wire == WIRE_WEBSOCKET) websocket_handshake(fd);
    if (wire == WIRE_ZMTP) zmtp_handshake(fd, socket_type);
    if (wire == WIRE_NATIVE) native_handshake(fd);
    if (wire == WIRE_NATS) nats_handshake(fd);
    if (wire == WIRE_REDIS) redis_handshake(fd, socket_type);
}

static size_t put_length(unsigned char *out, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) out[i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
    return bytes;
}

/* The size of one delivery with its head, where all have the same: text protocols need not be read then. */
static uint64_t delivery;

static size_t encode_text(unsigned char *out, enum wire wire, size_t size) {
    static const char *const formats[] = {"PUB room %zu\r\n", "*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$%zu\r\n"};
    static const char *const delivered[] = {"MSG room 1 %zu\r\n", "*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$%zu\r\n"};
    int redis = wire == WIRE_REDIS;
    delivery = (uint64_t)snprintf(NULL, 0, delivered[redis], size) + size + 2;
    size_t used = (size_t)snprintf((char *)out, OVERHEAD, formats[redis], size);
    memset(out + used, 'x', size);
    memcpy(out + used + size, "\r\n", 2);
    return used + size + 2;
}

size_t encode_frame(unsigned char *out, enum wire wire, size_t size) {
    size_t used = 0;
    if (wire == WIRE_NATS || wire == WIRE_REDIS) return encode_text(out, wire, size);
    if (wire == WIRE_NATIVE) { /* DATA on the room's stream: a sequence, and the message */
        used = put_length(out, 8 + 8 + size, 4);
        memcpy(out + used, "\x80\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\x01", 16);
        used += 16;
    } else if (wire == WIRE_U32) {
        used = put_length(out, size, 4);
    } else if (wire == WIRE_ZMTP) {
        out[used++] = size > 255 ? 2 : 0;
        used += put_length(out + used, size, size > 255 ? 8 : 1);
    } else { /* binary, final, masked as a client must; the mask is not zero, so unmasking is real work */
        out[used++] = 0x82;
        out[used++] = (unsigned char)(0x80 | (size < 126 ? size : size < 65536 ? 126 : 127));
        if (size >= 126) used += put_length(out + used, size, size < 65536 ? 2 : 8);
        memcpy(out + used, "\x11\x22\x33\x44", 4);
        used += 4;
    }
    memset(out + used, 'x', size);
    return used + size;
}

/* Length of the whole header, as far as its first `have` bytes tell; never less than have + 1 then. */
static size_t header_size(enum wire wire, const unsigned char *header, size_t have) {
    if (wire == WIRE_U32) return 4;
    if (wire == WIRE_NATIVE) return 12;
    if (wire == WIRE_NATS || wire == WIRE_REDIS) return 1;
    if (wire == WIRE_ZMTP) return have < 1 ? 2 : header[0] & 2 ? 9 : 2;
    size_t length = have < 2 ? 0 : header[1] & 127;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0);
}

static void begin_frame(struct parser *parser, const unsigned char *header, size_t size) {
    size_t at = parser->wire == WIRE_U32 ? 0 : parser->wire == WIRE_ZMTP ? 1 : size == 2 ? 1 : 2;
    uint64_t length = 0;
    if (parser->wire == WIRE_NATIVE) { /* what is SHARED is a message, the rest is the connection's own */
        parser->left = ((uint64_t)header[0] << 24 | header[1] << 16 | header[2] << 8 | header[3]) - 8;
        parser->command = !(header[9] & 2);
        return;
    }
    if (parser->wire == WIRE_NATS || parser->wire == WIRE_REDIS) {
        parser->command = header[0] == 'P'; /* PING */
        parser->left = (parser->command ? 6 : delivery) - 1;
        return;
    }
    for (; at < size; at++) length = length << 8 | header[at];
    if (parser->wire == WIRE_WEBSOCKET && size == 2) length &= 127;
    parser->command = parser->wire == WIRE_ZMTP ? header[0] & 4 : parser->wire == WIRE_WEBSOCKET && header[0] & 8;
    parser->left = length;
    if (!parser->command) parser->last_size = length;
}

uint64_t parse_messages(struct parser *parser, const unsigned char *data, size_t size) {
    uint64_t messages = 0;
    while (size > 0) {
        if (parser->left == 0) {
            size_t need = header_size(parser->wire, parser->have ? parser->header : data,
                                      parser->have ? parser->have : size);
            if (parser->have == 0 && size >= need) {
                begin_frame(parser, data, need);
                data += need;
                size -= need;
            } else {
                parser->header[parser->have++] = *data++;
                size--;
                if (parser->have < header_size(parser->wire, parser->header, parser->have)) continue;
                begin_frame(parser, parser->header, parser->have);
                parser->have = 0;
            }
            if (parser->left == 0) messages += !parser->command;
            if (parser->left == 0 || size == 0) continue;
        }
        size_t taken = parser->left < size ? (size_t)parser->left : size;
        parser->left -= taken;
        data += taken;
        size -= taken;
        if (parser->left == 0) messages += !parser->command;
    }
    return messages;
}
