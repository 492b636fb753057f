/* Echoes each connection line by line, with 8 KiB of buffer for each direction. What was written
 * is sent before a receive has to wait. */
#include "c_common.h"

enum { kBufferSize = 8192 };

struct Stream {
  int fd;
  size_t begin, end, out;
  char in_buffer[kBufferSize], out_buffer[kBufferSize];
};

static int flush(struct Stream* stream) {
  int result = send_all(stream->fd, stream->out_buffer, stream->out);
  stream->out = 0;
  return result;
}

/* Finds the next line and returns its size, 0 at the end of the stream. A line longer than the
 * buffer comes in pieces. */
static size_t get_line(struct Stream* stream, char** line) {
  size_t seen = 0;
  for (;;) {
    char* start = stream->in_buffer + stream->begin;
    size_t held = stream->end - stream->begin;
    char* newline = memchr(start + seen, '\n', held - seen);
    size_t size = newline != NULL ? (size_t)(newline - start) + 1 : held;
    if (newline != NULL || size == kBufferSize) {
      *line = start;
      stream->begin += size;
      return size;
    }
    memmove(stream->in_buffer, start, held);
    stream->begin = 0;
    stream->end = seen = held;
    if (flush(stream) < 0) return 0;
    ssize_t got = recv(stream->fd, stream->in_buffer + held, kBufferSize - held, 0);
    if (got <= 0) return 0;
    stream->end += (size_t)got;
  }
}

static int put(struct Stream* stream, const char* data, size_t size) {
  if (size > kBufferSize - stream->out && flush(stream) < 0) return -1;
  memcpy(stream->out_buffer + stream->out, data, size);
  stream->out += size;
  return 0;
}

int main(void) {
  int listener = tcp_listener();
  static struct Stream stream;
  for (;;) {
    char* line;
    size_t size;
    stream.fd = accept_one(listener);
    stream.begin = stream.end = stream.out = 0;
    while ((size = get_line(&stream, &line)) > 0 && put(&stream, line, size) == 0) {
    }
    flush(&stream);
    close(stream.fd);
  }
}
