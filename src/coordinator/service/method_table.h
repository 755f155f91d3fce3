// Which role each method of the API needs, in one table. A method that is not in it cannot be
// called; a test compares it with the services and with what their comments say.
#pragma once

#include <span>
#include <string_view>

namespace syncbn::coordinator {

// What it takes to call a method. kWorker: the token of a job's attempt, and no other.
enum class Access { kViewer = 1, kSubmitter, kAdmin, kWorker };

struct MethodRule {
  std::string_view method;  // "JobService/CreateJob"
  Access access;
  // Users change something with it: every call is kept in the audit table.
  bool mutates = false;
  // One side or both send many messages.
  bool stream = false;
};

std::span<const MethodRule> MethodRules();

// Null for a method that is not in the table.
const MethodRule* FindMethodRule(std::string_view method);

}  // namespace syncbn::coordinator
