// Finds out who calls.
//
// A call carries `authorization: Bearer SECRET`. The secret belongs to a user's token, which has a
// role, or to an attempt of a job, whose workers show it. While the store holds no tokens of users
// and the server listens on loopback only, whoever calls without a secret is "local", an admin: a
// server on one's own machine needs no set-up.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "coordinator/service/caller.h"
#include "coordinator/store/store.h"

namespace syncbn::coordinator {

// Whether a token can have this name: 1 to 63 letters, digits, . _ - @, and not what the coordinator
// calls itself in histories.
bool IsTokenName(const std::string& name);

class Authenticator {
 public:
  explicit Authenticator(Store& store, const Clock& clock = Clock::System());

  // Whether callers without a secret may be let in while there are no tokens.
  void AllowLocal(bool allowed) { local_allowed_ = allowed; }

  // `authorization` is the header, if there is one. Throws ApiError UNAUTHENTICATED.
  Caller Identify(const std::optional<std::string>& authorization, const std::string& peer);

  // To be called after the tokens in the store have changed.
  void Reload();
  // Users need a token.
  bool HasTokens() const;

  // Adds a token and returns its secret, which is stored nowhere. FIELD_INVALID for a bad name,
  // TOKEN_EXISTS, also when `request` comes again; LAST_ADMIN while there is no admin's token and
  // this is none.
  std::string Create(const std::string& name, Role role, std::optional<WallTime> expire_time,
                     const RequestKey& request = {});
  // TOKEN_NOT_FOUND; LAST_ADMIN when nobody would be left to make tokens. Does nothing when `request`
  // comes again.
  void Revoke(const std::string& name, const RequestKey& request = {});

  // Makes an admin's token and writes its secret to `path`, readable by this user only, unless
  // there is an admin's token already. Returns whether it did. ALREADY_EXISTS when the file is
  // there: it is never overwritten.
  bool WriteFirstAdminToken(const std::filesystem::path& path);

 private:
  using ByHash = std::unordered_map<std::string, TokenRecord>;

  std::optional<Caller> FindUser(const std::string& hash) const;
  std::optional<Caller> FindWorker(const std::string& hash);

  Store& store_;
  const Clock& clock_;
  std::atomic<bool> local_allowed_ = false;
  mutable std::mutex mutex_;
  std::shared_ptr<const ByHash> users_;
  // An attempt keeps its token as long as it is in the store.
  std::unordered_map<std::string, AttemptId> workers_;
};

}  // namespace syncbn::coordinator
