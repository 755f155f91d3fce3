// What every command that speaks to a coordinator has in common: its options, its connection, its
// errors and its exit codes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/commands.h"
#include "client/connection.h"

namespace syncbn::app {

struct ClientOptions {
  std::string address = "127.0.0.1:7700";
  std::string token_file;
  std::string tls_ca, tls_cert, tls_key;
  bool json = false;
};

// Adds a command of a coordinator's users: the common options, `help` text below them, and `body`
// to run, which returns the exit code. What body throws is printed; no coordinator answering ends
// with kUnreachable.
struct ClientCommand {
  Command command;
  std::shared_ptr<ClientOptions> options;
};
ClientCommand AddClientCommand(CommandLine& line, const std::string& name,
                               const std::string& description, const std::string& help);
// The same below `parent`.
ClientCommand AddClientCommand(Command parent, const std::string& name,
                               const std::string& description, const std::string& help);

void OnRun(const ClientCommand& command, CommandLine& line,
           std::function<int(client::Connection&, const ClientOptions&)> body);

// Throws INVALID_ARGUMENT where more than one of these options is given.
void RequireOneOf(const Command& command, const std::vector<std::string>& options);

// Notes SIGINT and SIGTERM for its lifetime, so that a command that follows can leave in order.
class InterruptFlag {
 public:
  InterruptFlag();
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;
  bool raised() const;
};

}  // namespace syncbn::app
