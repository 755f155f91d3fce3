// The table of roles against the API itself: the descriptors, and what the comments promise.
#include "coordinator/service/method_table.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

struct ApiMethod {
  std::string name;
  std::string comment;
  bool stream = false;
  bool has_request_id = false;
};

// Every method of every service in the folder of protos, as the compiler reads them.
std::vector<ApiMethod> AllMethods() {
  TempFolder folder;
  const std::string out = (folder.path() / "api").string();
  std::vector<std::string> argv = {TEST_PROTOC, "-I", TEST_PROTO_FOLDER, "--include_source_info",
                                   "--descriptor_set_out=" + out};
  const std::filesystem::path protos = TEST_PROTO_FOLDER;
  for (const auto& entry : std::filesystem::directory_iterator(protos / "syncbn" / "v1"))
    argv.push_back(entry.path().lexically_relative(protos).string());
  const ProcessResult result = RunProcess({.argv = argv});
  EXPECT_EQ(result.status, 0) << result.err;
  google::protobuf::FileDescriptorSet set;
  EXPECT_TRUE(set.ParseFromString(ReadFile(out)));
  // Messages with a field request_id.
  std::set<std::string> with_id;
  for (const auto& file : set.file()) {
    for (const auto& message : file.message_type()) {
      for (const auto& field : message.field()) {
        if (field.name() == "request_id") with_id.insert("." + file.package() + "." + message.name());
      }
    }
  }
  std::vector<ApiMethod> methods;
  for (const auto& file : set.file()) {
    for (int s = 0; s < file.service_size(); ++s) {
      for (int m = 0; m < file.service(s).method_size(); ++m) {
        const auto& method = file.service(s).method(m);
        std::string comment;
        for (const auto& location : file.source_code_info().location()) {
          const auto& path = location.path();  // file.service[s].method[m]
          if (path.size() == 4 && path[0] == 6 && path[1] == s && path[2] == 2 && path[3] == m) {
            comment = location.leading_comments();
          }
        }
        std::replace(comment.begin(), comment.end(), '\n', ' ');
        methods.push_back({file.service(s).name() + "/" + method.name(), comment,
                           method.client_streaming() || method.server_streaming(),
                           with_id.contains(method.input_type())});
      }
    }
  }
  return methods;
}

TEST(MethodTable, HasEveryMethodOfTheApiAndNoOther) {
  std::set<std::string> api, table;
  for (const ApiMethod& method : AllMethods()) api.insert(method.name);
  for (const MethodRule& rule : MethodRules()) table.emplace(rule.method);
  EXPECT_EQ(api, table);
  EXPECT_EQ(table.size(), MethodRules().size());
  EXPECT_GE(api.size(), 30u);
}

TEST(MethodTable, AsksForTheRoleThatTheCommentsPromise) {
  const std::map<std::string, Access> roles = {{"viewer", Access::kViewer},
                                               {"submitter", Access::kSubmitter},
                                               {"admin", Access::kAdmin}};
  for (const ApiMethod& method : AllMethods()) {
    const MethodRule* rule = FindMethodRule(method.name);
    ASSERT_NE(rule, nullptr) << method.name;
    if (method.name.starts_with("WorkerService/")) {
      EXPECT_EQ(rule->access, Access::kWorker) << method.name;
      continue;
    }
    const size_t at = method.comment.find("Role: ");
    ASSERT_NE(at, std::string::npos) << method.name << " does not say which role it needs";
    std::string role = method.comment.substr(at + 6);
    // "admin, or the submitter of the job": whoever may submit comes as far as the job.
    if (role.find("or the submitter") != std::string::npos) role = "submitter";
    role = role.substr(0, role.find_first_not_of("abcdefghijklmnopqrstuvwxyz"));
    ASSERT_TRUE(roles.contains(role)) << method.name << ": " << role;
    EXPECT_EQ(rule->access, roles.at(role)) << method.name;
  }
}

TEST(MethodTable, KnowsStreamsAndWhatChangesSomething) {
  for (const ApiMethod& method : AllMethods()) {
    const MethodRule* rule = FindMethodRule(method.name);
    ASSERT_NE(rule, nullptr) << method.name;
    EXPECT_EQ(rule->stream, method.stream) << method.name;
    const std::string verb = method.name.substr(method.name.find('/') + 1);
    bool reads = rule->access == Access::kWorker;
    for (const char* one : {"Get", "List", "Watch", "Query", "Read", "Follow"}) {
      reads |= verb.starts_with(one);
    }
    EXPECT_EQ(rule->mutates, !reads) << method.name;
  }
}

TEST(MethodTable, WhatChangesSomethingCanBeSentTwice) {
  for (const ApiMethod& method : AllMethods()) {
    if (!FindMethodRule(method.name)->mutates) continue;
    EXPECT_TRUE(method.has_request_id) << method.name;
  }
}

TEST(MethodTable, AMethodThatIsNotInItIsNotFound) {
  EXPECT_EQ(FindMethodRule("JobService/EraseAll"), nullptr);
}

}  // namespace
}  // namespace syncbn::coordinator
