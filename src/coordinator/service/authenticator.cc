#include "coordinator/service/authenticator.h"

#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "base/file.h"
#include "coordinator/api_error.h"
#include "coordinator/control/secret.h"

namespace syncbn::coordinator {
namespace {

constexpr std::string_view kScheme = "Bearer ";
constexpr size_t kMostWorkers = 10'000;
constexpr const char* kFirstAdmin = "first-admin";

[[noreturn]] void FailUnauthenticated(const std::string& message) {
  // ToStatus turns the reason into gRPC's code.
  throw ApiError(ErrorCode::kPermissionDenied, "UNAUTHENTICATED", message);
}

bool IsLive(const TokenRecord& token, WallTime now) {
  return !token.expire_time || *token.expire_time > now;
}

bool IsLiveAdmin(const TokenRecord& token, WallTime now) {
  return token.role == static_cast<int>(Role::kAdmin) && IsLive(token, now);
}

void CheckTokenName(const std::string& name) {
  if (IsTokenName(name)) return;
  ThrowFieldInvalid("token.name",
                    "'" + name.substr(0, 80) +
                        "' cannot be the name of a token: 1 to 63 letters, digits, . _ - @, and not "
                        "a name of the coordinator's own such as local or scheduler");
}

}  // namespace

bool IsTokenName(const std::string& name) {
  const bool fits = !name.empty() && name.size() <= 63 &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return std::isalnum(c) || c == '.' || c == '_' || c == '-' || c == '@';
                    });
  static constexpr std::string_view kOwn[] = {"local",   "scheduler", "timer",    "launcher", "workers",
                                              "startup", "monitor",   "retention"};
  return fits && std::find(std::begin(kOwn), std::end(kOwn), name) == std::end(kOwn);
}

Authenticator::Authenticator(Store& store, const Clock& clock) : store_(store), clock_(clock) {
  Reload();
}

void Authenticator::Reload() {
  auto users = std::make_shared<ByHash>();
  for (TokenRecord& token : store_.Read([](Tables& tables) { return tables.tokens.All(); })) {
    users->emplace(token.hash, std::move(token));
  }
  std::lock_guard lock(mutex_);
  users_ = std::move(users);
}

bool Authenticator::HasTokens() const {
  std::lock_guard lock(mutex_);
  return !users_->empty();
}

Caller Authenticator::Identify(const std::optional<std::string>& authorization,
                               const std::string& peer) {
  if (!authorization) {
    if (local_allowed_ && !HasTokens()) {
      return {.name = "local", .peer = peer, .role = Role::kAdmin};
    }
    FailUnauthenticated("this server asks for a token, and none has come");
  }
  if (authorization->size() <= kScheme.size() ||
      ::strncasecmp(authorization->c_str(), kScheme.data(), kScheme.size()) != 0) {
    FailUnauthenticated("the authorization header is not 'Bearer TOKEN'");
  }
  const std::string hash = HashSecret(std::string_view(*authorization).substr(kScheme.size()));
  std::optional<Caller> caller = FindUser(hash);
  if (!caller) caller = FindWorker(hash);
  if (!caller) {
    FailUnauthenticated("this token is not known here: it was revoked, or is of another server");
  }
  caller->peer = peer;
  return *caller;
}

std::optional<Caller> Authenticator::FindUser(const std::string& hash) const {
  std::shared_ptr<const ByHash> users;
  {
    std::lock_guard lock(mutex_);
    users = users_;
  }
  const auto found = users->find(hash);
  if (found == users->end()) return std::nullopt;
  const TokenRecord& token = found->second;
  if (!IsLive(token, clock_.Now())) {
    FailUnauthenticated("the token '" + token.name + "' expired at " +
                        FormatTime(*token.expire_time));
  }
  return Caller{.name = token.name, .role = static_cast<Role>(token.role)};
}

std::optional<Caller> Authenticator::FindWorker(const std::string& hash) {
  std::optional<AttemptId> id;
  {
    std::lock_guard lock(mutex_);
    const auto found = workers_.find(hash);
    if (found != workers_.end()) id = found->second;
  }
  if (!id) {
    id = store_.Read([&](Tables& tables) { return tables.tokens.AttemptOf(hash); });
    if (!id) return std::nullopt;
    std::lock_guard lock(mutex_);
    if (workers_.size() >= kMostWorkers) workers_.clear();
    workers_.emplace(hash, *id);
  }
  return Caller{.name = AttemptName(id->job, id->attempt), .attempt = id};
}

std::string Authenticator::Create(const std::string& name, Role role,
                                  std::optional<WallTime> expire_time, const RequestKey& request) {
  CheckTokenName(name);
  const WallTime now = clock_.Now();
  if (expire_time && *expire_time <= now) {
    ThrowFieldInvalid("token.expire_time", "the token would have expired at " +
                                               FormatTime(*expire_time) + ", which is in the past");
  }
  const std::string secret = NewSecret();
  bool made = false;
  store_.Mutate(request, now, [&](Tables& tables) {
    const std::vector<TokenRecord> all = tables.tokens.All();
    const bool has_admin = std::any_of(
        all.begin(), all.end(), [&](const TokenRecord& token) { return IsLiveAdmin(token, now); });
    // The first token ends the time when everybody local is an admin.
    if (!has_admin && role != Role::kAdmin) {
      throw ApiError(ErrorCode::kFailedPrecondition, "LAST_ADMIN",
                     "make an admin's token first: from the first token on, only admins can make "
                     "tokens, and there would be none");
    }
    tables.tokens.Add({.hash = HashSecret(secret),
                       .name = name,
                       .role = static_cast<int>(role),
                       .create_time = now,
                       .expire_time = expire_time});
    made = true;
    // The secret is not kept, so there is no answer to give again.
    return std::string();
  });
  if (!made) {
    throw ApiError(ErrorCode::kAlreadyExists, "TOKEN_EXISTS",
                   "this request has made the token '" + name +
                       "' before, and its secret was in that answer only. If it was lost on the "
                       "way, revoke '" + name + "' and make another token",
                   {{"name", name}});
  }
  Reload();
  return secret;
}

void Authenticator::Revoke(const std::string& name, const RequestKey& request) {
  const WallTime now = clock_.Now();
  store_.Mutate(request, now, [&](Tables& tables) {
    if (!tables.tokens.Remove(name)) {
      throw ApiError(ErrorCode::kNotFound, "TOKEN_NOT_FOUND", "there is no token '" + name + "'",
                     {{"name", name}});
    }
    const std::vector<TokenRecord> left = tables.tokens.All();
    if (std::none_of(left.begin(), left.end(),
                     [&](const TokenRecord& token) { return IsLiveAdmin(token, now); })) {
      throw ApiError(ErrorCode::kFailedPrecondition, "LAST_ADMIN",
                     "'" + name + "' is the last admin's token: make another before revoking it");
    }
    return std::string();
  });
  Reload();
}

bool Authenticator::WriteFirstAdminToken(const std::filesystem::path& path) {
  const WallTime now = clock_.Now();
  std::vector<TokenRecord> tokens =
      store_.Read([](Tables& tables) { return tables.tokens.All(); });
  if (std::any_of(tokens.begin(), tokens.end(),
                  [&](const TokenRecord& token) { return IsLiveAdmin(token, now); })) {
    return false;
  }
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0 && errno == EEXIST) {
    throw Error(
        ErrorCode::kAlreadyExists,
        "the file " + path.string() +
            " for the first admin's token is there already, and its content, which this store "
            "does not know, would be lost: remove it, or give --admin-token-file another name");
  }
  if (file < 0) ThrowErrno("create", path);
  std::string name = kFirstAdmin;
  const auto taken = [&] {
    return std::any_of(tokens.begin(), tokens.end(),
                       [&](const TokenRecord& token) { return token.name == name; });
  };
  for (int number = 2; taken(); ++number) name = kFirstAdmin + ("-" + std::to_string(number));
  try {
    const std::string line = Create(name, Role::kAdmin, std::nullopt) + "\n";
    const bool written = ::write(file, line.data(), line.size()) ==
                             static_cast<ssize_t>(line.size()) &&
                         ::fsync(file) == 0;
    if (!written) ThrowErrno("write", path);
  } catch (...) {
    ::close(file);
    ::unlink(path.c_str());
    throw;
  }
  ::close(file);
  return true;
}

}  // namespace syncbn::coordinator
