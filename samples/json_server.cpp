// Calls the method that each line of JSON names: the tutorials' getattr(self, message["action"]).
// sh samples/run.sh json_server [HOST [PORT]]
//
// Limits: 200 clients at once, each of which may be silent for a minute; lines of 64 KiB, nested 8
// deep.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <ctime>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using nlohmann::json;

class Actions : public thinsock::StreamRequestHandler {
  void handle() override {
    for (std::string line; open_ && (line = rfile.readline(65536)).ends_with('\n');)
      wfile << answer(line).dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }

  // Refuses deep nesting while it parses, because what is nested takes a lot of memory.
  static bool is_shallow(int depth, json::parse_event_t, const json&) {
    if (depth > 8) throw std::length_error("the message is nested too deeply");
    return true;
  }

  json answer(const std::string& line) try {
    static const std::map<std::string, json (Actions::*)(const json&)> actions = {
        {"lower", &Actions::lower}, {"time", &Actions::time}, {"quit", &Actions::quit}};
    const json message = json::parse(line, is_shallow);
    const auto action = actions.find(message.at("action"));
    if (action == actions.end()) return {{"error", "no such action"}};
    return {{"result", (this->*action->second)(message)}};
  } catch (const std::exception& error) {
    return {{"error", error.what()}};
  }

  json lower(const json& message) {
    std::string text = message.at("text");
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
  }
  json time(const json&) {
    const std::time_t now = std::time(nullptr);
    std::tm utc;
    char text[32];
    return std::string(text, std::strftime(text, sizeof text, "%FT%TZ", ::gmtime_r(&now, &utc)));
  }
  json quit(const json&) { return open_ = false, "bye"; }
  bool open_ = true;
};

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server({host, port}, thinsock::handler<Actions>,
                                      {.allow_reuse_address = true,
                                       .idle_timeout = 60s,
                                       .daemon_threads = true,
                                       .max_threads = 200});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: json_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
