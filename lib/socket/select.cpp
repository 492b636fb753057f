#include "thinsock/select.hpp"

#include <climits>

#include "../system/waiting.hpp"

namespace thinsock {

Selected select(ListOf<Selectable> rlist, ListOf<Selectable> wlist, ListOf<Selectable> xlist,
                Timeout timeout) {
  Selected ready;
  std::vector<pollfd> entries;
  const auto add = [&](const ListOf<Selectable>& list, short event) {
    for (const Selectable& one : list) {
      // Without its sign, the -1 of a closed socket is a descriptor that cannot be open. poll would
      // skip a negative one.
      entries.push_back({one.socket().fileno() & INT_MAX, event, 0});
      if (event == POLLIN && one.has_unread()) timeout = std::chrono::nanoseconds(0);
    }
  };
  add(rlist, POLLIN);
  add(wlist, POLLOUT);
  add(xlist, POLLPRI);
  entries.push_back({});  // wait_any needs a free entry.
  Deadline deadline(timeout);
  for (bool over = false; !over;) {
    const Result result = wait_any(entries.data(), entries.size() - 1, deadline);
    over = result == -ETIMEDOUT && interrupted() == 0;
    if (!over) check(result, "select");
    pollfd* next = entries.data();
    // `counts`: the events for which select(2) calls it ready. A hang-up that is not among them
    // would only make poll return again and again.
    const auto take = [&](const ListOf<Selectable>& list, short counts, auto& ready_ones) {
      for (const Selectable& one : list) {
        pollfd& entry = *next++;
        if (entry.revents & POLLNVAL) fail(code_of(-EBADF), "select");
        if (entry.revents != 0) entry.fd = -1;
        if (!(entry.revents & counts) && !(counts & POLLIN && one.has_unread())) continue;
        ready_ones.push_back(&one.socket());
        over = true;
      }
    };
    take(rlist, POLLIN | POLLHUP | POLLERR, ready.readable);
    take(wlist, POLLOUT | POLLERR, ready.writable);
    take(xlist, POLLPRI, ready.exceptional);
  }
  return ready;
}

}  // namespace thinsock
