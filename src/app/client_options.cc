#include "app/client_options.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "app/exit_code.h"
#include "app/terminal.h"
#include "base/bounded_file.h"
#include "base/file.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

volatile std::sig_atomic_t interrupted = 0;

std::string TokenOf(const ClientOptions& options) {
  if (options.token_file.empty()) {
    const char* token = std::getenv("SYNCBN_USER_TOKEN");
    return token == nullptr ? "" : token;
  }
  std::string token = ReadFileUpTo(options.token_file, 4096, "a token file");
  const size_t begin = token.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) {
    throw Error(ErrorCode::kInvalidArgument, "the token file " + options.token_file + " is empty");
  }
  return token.substr(begin, token.find_last_not_of(" \t\r\n") - begin + 1);
}

void AddConnectionOptions(Command command, const std::shared_ptr<ClientOptions>& options) {
  command
      ->add_option("--coordinator", options->address, "where the coordinator listens, or unix:/PATH")
      ->type_name("HOST:PORT")
      ->envname("SYNCBN_SERVER")
      ->capture_default_str()
      ->group("Connection");
  command
      ->add_option("--token-file", options->token_file,
                   "file with your token (default: the token in SYNCBN_USER_TOKEN)")
      ->type_name("FILE")
      ->group("Connection");
  command->add_option("--tls-ca", options->tls_ca, "use TLS; the authority that signed the server's certificate")
      ->type_name("FILE")
      ->envname("SYNCBN_TLS_CA")
      ->group("Connection");
  command->add_option("--tls-cert", options->tls_cert, "your certificate, for mutual TLS")
      ->type_name("FILE")
      ->group("Connection");
  command->add_option("--tls-key", options->tls_key, "its key")->type_name("FILE")->group("Connection");
}

int Run(const ClientOptions& options,
        const std::function<int(client::Connection&, const ClientOptions&)>& body) {
  // Output into a pipe whose reader has left (`syncbn logs 17 | head`) ends the command quietly.
  std::signal(SIGPIPE, SIG_DFL);
  try {
    client::Connection connection({.address = options.address,
                                   .token = TokenOf(options),
                                   .tls_ca = options.tls_ca,
                                   .tls_cert = options.tls_cert,
                                   .tls_key = options.tls_key});
    return body(connection, options);
  } catch (const client::Unreachable& error) {
    std::fflush(stdout);
    Say(stderr, "syncbn: %s\n", error.what());
    return kUnreachable;
  }
}

}  // namespace

ClientCommand AddClientCommand(Command parent, const std::string& name,
                               const std::string& description, const std::string& help) {
  ClientCommand result{parent.add_subcommand(name, description), std::make_shared<ClientOptions>()};
  result.command->footer(help);
  result.command->add_flag("--json", result.options->json, "print JSON, one object a line");
  return result;
}

ClientCommand AddClientCommand(CommandLine& line, const std::string& name,
                               const std::string& description, const std::string& help) {
  ClientCommand result = AddClientCommand(line.parser, name, description, help);
  result.command->group("Jobs");
  return result;
}

void OnRun(const ClientCommand& command, CommandLine& line,
           std::function<int(client::Connection&, const ClientOptions&)> body) {
  // Last in the help: what a command is about comes first.
  AddConnectionOptions(command.command, command.options);
  command.command->callback([options = command.options, &line, body = std::move(body)] {
    for (const std::string& word : line.argv) {
      if (!IsUtf8(word)) {
        throw Error(ErrorCode::kInvalidArgument, "'" + word + "' is not UTF-8 text: it cannot be sent");
      }
    }
    line.exit_code = Run(*options, body);
  });
}

void RequireOneOf(const Command& command, const std::vector<std::string>& options) {
  std::string given;
  for (const std::string& option : options) {
    if (command.count(option) == 0) continue;
    if (!given.empty()) {
      throw Error(ErrorCode::kInvalidArgument, given + " and " + option + " exclude each other");
    }
    given = option;
  }
}

InterruptFlag::InterruptFlag() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  // A second signal ends the program at once.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

InterruptFlag::~InterruptFlag() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

bool InterruptFlag::raised() const {
  return interrupted != 0;
}

}  // namespace syncbn::app
