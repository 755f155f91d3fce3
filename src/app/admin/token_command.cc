#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/table.h"
#include "app/terminal.h"
#include "base/error.h"
#include "base/file.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string name, role, out;
  double days = 0;
};

std::string RoleText(v1::Token::Role role) {
  switch (role) {
    case v1::Token::VIEWER:
      return "viewer";
    case v1::Token::SUBMITTER:
      return "submitter";
    case v1::Token::ADMIN:
      return "admin";
    default:
      return "unknown";
  }
}

v1::Token::Role ParseRole(const std::string& role) {
  if (role == "viewer") return v1::Token::VIEWER;
  if (role == "submitter") return v1::Token::SUBMITTER;
  return v1::Token::ADMIN;
}

// A new file that only its owner can read. Made before the token: a secret that cannot be written
// would be lost.
class SecretFile {
 public:
  explicit SecretFile(const std::string& path) : path_(path) {
    file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file_ < 0 && errno == EEXIST) {
      throw Error(ErrorCode::kAlreadyExists,
                  path +
                      " is there already, and may hold a token that is in use: remove it, or give "
                      "--out another name. No token was made");
    }
    if (file_ < 0) ThrowErrno("create", path);
  }
  ~SecretFile() {
    ::close(file_);
    if (!written_) ::unlink(path_.c_str());
  }
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;

  void Write(const std::string& line) {
    written_ = ::write(file_, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
               ::fsync(file_) == 0;
    if (!written_) ThrowErrno("write", path_);
  }

 private:
  std::string path_;
  int file_ = -1;
  bool written_ = false;
};

int Create(client::Connection& connection, const ClientOptions& options, const Arguments& given) {
  v1::CreateTokenRequest request;
  request.mutable_token()->set_name(given.name);
  request.mutable_token()->set_role(ParseRole(given.role));
  if (given.days > 0) {
    const WallTime end = Clock::System().Now() +
                         std::chrono::microseconds(static_cast<int64_t>(given.days * 86400e6));
    request.mutable_token()->mutable_expire_time()->set_seconds(
        end.time_since_epoch().count() / 1'000'000);
  }
  std::optional<SecretFile> file;
  if (!given.out.empty()) file.emplace(given.out);
  const v1::CreateTokenResponse answer =
      connection.Call(&v1::AdminService::Stub::CreateToken, request);
  if (file) {
    file->Write(answer.secret() + "\n");
    Say(stdout, "%s may act as %s with the token in %s\n", given.name.c_str(), given.role.c_str(),
        given.out.c_str());
    return kSuccess;
  }
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(answer).c_str());
    return kSuccess;
  }
  Say(stdout, "%s\n", answer.secret().c_str());
  Say(stderr, "syncbn: this is the only time that the token of %s is shown\n", given.name.c_str());
  return kSuccess;
}

int List(client::Connection& connection, const ClientOptions& options) {
  const v1::ListTokensResponse answer =
      connection.CallForAll(&v1::AdminService::Stub::ListTokens, v1::ListTokensRequest());
  if (options.json) {
    for (const v1::Token& token : answer.tokens()) Say(stdout, "%s\n", JsonLine(token).c_str());
    return kSuccess;
  }
  if (answer.tokens().empty()) {
    Say(stdout, "There are no tokens: whoever is on the coordinator's machine is an admin.\n");
    return kSuccess;
  }
  const WallTime now = Clock::System().Now();
  Table table({{.header = "NAME"}, {.header = "ROLE"}, {.header = "MADE"}, {.header = "EXPIRES"}});
  for (const v1::Token& token : answer.tokens()) {
    table.Add({{token.name()},
               {RoleText(token.role())},
               {Ago(token.create_time(), now)},
               {token.has_expire_time() ? Ago(token.expire_time(), now) : "never"}});
  }
  Say(stdout, "%s", table.Render(Terminal::Of(stdout)).c_str());
  return kSuccess;
}

}  // namespace

void AddTokenCommand(CommandLine& line) {
  const ClientCommand token = AddClientCommand(
      line, "token", "Make, list and revoke the tokens of users",
      "  syncbn token create anna --role submitter --out anna.token\n"
      "  syncbn token list\n"
      "  syncbn token revoke anna\n\n"
      "Without tokens everybody on the coordinator's machine is an admin; the first token must be\n"
      "an admin's, and from then on everybody needs one (--token-file or SYNCBN_USER_TOKEN).");
  token.command->require_subcommand(1, 1);

  auto given = std::make_shared<Arguments>();
  const ClientCommand create =
      AddClientCommand(token.command, "create", "Make a token; its secret is shown this once",
                       "  syncbn token create anna --role submitter --out anna.token");
  create.command->add_option("NAME", given->name, "whose; shown in histories")->required();
  create.command->add_option("--role", given->role, "what it allows: viewer, submitter or admin")
      ->required()
      ->type_name("ROLE")
      ->is_member({"viewer", "submitter", "admin"});
  create.command->add_option("--days", given->days, "how long it is good (default: for ever)")
      ->type_name("N")
      ->range(0.001, 36500.0);
  create.command->add_option("--out", given->out, "write it to a new file instead, for its owner only")
      ->type_name("FILE");
  const ClientCommand list = AddClientCommand(token.command, "list", "Show whose tokens there are",
                                              "  syncbn token list");
  auto revoked = std::make_shared<Arguments>();
  const ClientCommand revoke = AddClientCommand(token.command, "revoke", "Refuse a token from now on",
                                                "  syncbn token revoke anna");
  revoke.command->add_option("NAME", revoked->name, "whose")->required();

  OnRun(create, line, [given](client::Connection& connection, const ClientOptions& options) {
    return Create(connection, options, *given);
  });
  OnRun(list, line, List);
  OnRun(revoke, line, [revoked](client::Connection& connection, const ClientOptions& options) {
    v1::RevokeTokenRequest request;
    request.set_name(revoked->name);
    connection.Call(&v1::AdminService::Stub::RevokeToken, request);
    if (!options.json)
      Say(stdout, "the token of %s is refused from now on\n", revoked->name.c_str());
    return kSuccess;
  });
}

}  // namespace syncbn::app
