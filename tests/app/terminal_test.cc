// Text from elsewhere can do nothing to the terminal of who reads it, whatever command shows it.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/printable.h"
#include "base/text.h"
#include "tests/app/run_command.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

using testing::HasSubstr;

// A colour, the one-byte start of a sequence as a character, overrides of direction, a bell, a
// return, a line end.
constexpr const char* kHostile = "a\033[31mb\u009b2Jc\u202ed\u2066e\af\rg\nh";

// Puts the hostile text into every text of a message but those that this program takes apart.
void Poison(google::protobuf::Message& message) {
  using google::protobuf::FieldDescriptor;
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const std::string& name = field->name();
    const bool taken_apart = name == "next_page_token" || name == "cursor";
    if (field->type() == FieldDescriptor::TYPE_STRING && !taken_apart) {
      if (field->is_repeated()) {
        if (reflection.FieldSize(message, field) == 0)
          reflection.AddString(&message, field, kHostile);
      } else if (reflection.GetString(message, field).empty()) {
        reflection.SetString(&message, field, kHostile);
      }
    }
    if (field->type() != FieldDescriptor::TYPE_MESSAGE || field->is_map()) continue;
    if (field->message_type()->full_name().starts_with("google.")) continue;
    if (!field->is_repeated()) {
      if (field->real_containing_oneof() == nullptr || reflection.HasField(message, field))
        Poison(*reflection.MutableMessage(&message, field));
      continue;
    }
    if (reflection.FieldSize(message, field) == 0) reflection.AddMessage(&message, field);
    for (int k = 0; k < reflection.FieldSize(message, field); ++k)
      Poison(*reflection.MutableRepeatedMessage(&message, field, k));
  }
}

v1::Job PoisonedJob(v1::Job::State state) {
  v1::Job job;
  job.set_name("jobs/17");
  job.set_state(state);
  job.set_attempt(1);
  job.mutable_failure()->set_class_(v1::Failure::USER);
  (*job.mutable_labels())["team"] = kHostile;
  (*job.mutable_environment())["LEVEL"] = kHostile;
  job.mutable_progress()->set_step(3);
  Poison(job);
  return job;
}

class TerminalTest : public ::testing::Test {
 protected:
  TerminalTest() {
    fake.jobs.jobs["jobs/17"] = PoisonedJob(v1::Job::FAILED);
    v1::Attempt attempt;
    attempt.set_name("jobs/17/attempts/1");
    Poison(attempt);
    fake.jobs.attempts["jobs/17"] = {attempt};
    v1::Transition transition;
    transition.set_job("jobs/17");
    Poison(transition);
    fake.jobs.transitions["jobs/17"] = {transition};
    v1::WatchJobsResponse snapshot, queued, change;
    *snapshot.mutable_snapshot() = PoisonedJob(v1::Job::RUNNING);
    *queued.mutable_change()->mutable_job() = PoisonedJob(v1::Job::QUEUED);
    *change.mutable_change()->mutable_job() = PoisonedJob(v1::Job::FAILED);
    *change.mutable_change()->mutable_transition() = transition;
    change.mutable_change()->mutable_transition()->set_to_state(v1::Job::FAILED);
    fake.jobs.watch = {snapshot, queued, change};
    for (const char* log : {"output", "supervisor"}) {
      // In logs there may be bytes that are no text at all.
      fake.logs.logs["jobs/17/attempts/1/logs/" + std::string(log)] =
          std::string(kHostile) + "\x9b" + "31m\n";
    }
    Poison(fake.metrics.series);
    Poison(fake.metrics.query);
    v1::Series& series = *fake.metrics.query.mutable_series(0);
    for (auto* steps : {series.mutable_first_step(), series.mutable_last_step(),
                        series.mutable_count(), series.mutable_non_finite()}) {
      steps->Add(1);
    }
    series.add_attempt(1);
    series.add_time_us(0);
    for (auto* values : {series.mutable_mean(), series.mutable_min(), series.mutable_max()})
      values->Add(0.5);
    Poison(fake.cluster.hosts);
    Poison(fake.cluster.queue);
    Poison(fake.cluster.server);
    Poison(fake.cluster.backup);
    Poison(fake.admin.tokens);
    Poison(fake.admin.audit);
    WriteFileAtomically(run_file, "name: shapes-demo\ndata: {dataset: shapes}\n");
    WriteFileAtomically(coloured, "data: {dataset: shapes}\nmodel: {architecture: mlp}\n");
    WriteFileAtomically(wrong, std::string("name: ") + "\"x\u202ey\u009bz\"\nsede\u202e: 3\n");
  }

  // All that show something of others.
  std::vector<std::vector<std::string>> Commands() const {
    return {{"jobs"},
            {"job", "17"},
            {"job", "17", "--run-file"},
            {"job", "17", "--effective"},
            {"watch", "17"},
            {"logs", "17"},
            {"logs", "17", "--tail", "1"},
            {"logs", "17", "--follow", "--attempt", "1"},
            {"logs", "17", "--supervisor"},
            {"metrics", "17"},
            {"metrics", "17", "a*"},
            {"metrics", "17", "a*", "--csv"},
            {"metrics", "17", "a*", "--curve"},
            {"metrics", "17", "missing"},
            {"metrics", "--name", "a", "--csv"},
            {"queue"},
            {"hosts"},
            {"hosts", "drain", "a", "--reason", kHostile},
            {"cancel", "17"},
            {"resume", "17"},
            {"cancel", "99"},
            {"submit", run_file.string()},
            {"submit", run_file.string(), "--follow"},
            {"status"},
            {"backup"},
            {"token", "list"},
            {"audit"},
            {"check", wrong.string()},
            {"check", coloured.string()},
            {"train", wrong.string()},
            {"submit", wrong.string(), "--label", kHostile},
            {"jobs", kHostile}};
  }

  // On a terminal of its own, with colours. What it has printed on it.
  std::string OnTerminal(const std::vector<std::string>& arguments) {
    return OutputOnTerminal(CommandFor(fake.address(), arguments));
  }

  TempFolder folder;
  std::filesystem::path run_file = folder.path() / "run.yaml";
  std::filesystem::path wrong = folder.path() / "wrong.yaml";
  std::filesystem::path coloured = folder.path() / "a\033[31mb.yaml";
  FakeCoordinator fake;
};

void Remove(std::string& text, const std::string& part) {
  for (size_t at; (at = text.find(part)) != std::string::npos;) text.erase(at, part.size());
}

// The text without the little that this program itself tells a terminal.
std::string WithoutOwn(std::string text) {
  for (const char* code : {"\033[0m", "\033[1m", "\033[2m", "\033[32m", "\033[36m", "\r\033[K"})
    Remove(text, code);
  return text;
}

TEST_F(TerminalTest, NoCommandPassesOnWhatCouldChangeATerminal) {
  for (const std::vector<std::string>& command : Commands()) {
    const std::string name = Join(command, " ");
    // Bytes are what was asked for there.
    const bool exact = command[0] == "logs" || name.starts_with("job 17 --");
    const ProcessResult piped = RunCommand(fake, command);
    EXPECT_NE(piped.out + piped.err, "") << name;
    EXPECT_EQ(piped.err, Printable(piped.err)) << name;
    if (!exact) {
      EXPECT_EQ(piped.out, Printable(piped.out)) << name;
    }
    std::string shown = WithoutOwn(OnTerminal(command));
    // The program's own colour of what is bad; of the hostile text it would stand before "b".
    EXPECT_THAT(shown, testing::Not(HasSubstr("\033[31mb"))) << name;
    Remove(shown, "\033[31m");
    EXPECT_NE(shown, "") << name;
    EXPECT_EQ(shown, Printable(shown)) << name;
  }
}

TEST_F(TerminalTest, JsonSaysTheSameTextInCharactersThatDoNothing) {
  for (const std::vector<std::string>& command : {std::vector<std::string>{"jobs"},
                                                  {"job", "17"},
                                                  {"queue"},
                                                  {"hosts"},
                                                  {"audit"},
                                                  {"status"},
                                                  {"backup"},
                                                  {"token", "list"},
                                                  {"metrics", "17"},
                                                  {"logs", "17"},
                                                  {"watch", "17"}}) {
    std::vector<std::string> words = command;
    words.push_back("--json");
    const ProcessResult result = RunCommand(fake, words);
    const std::string name = Join(words, " ");
    EXPECT_EQ(result.out, Printable(result.out)) << name;
    EXPECT_THAT(result.out, HasSubstr("\\u009b")) << name;
    const auto json = nlohmann::json::parse(result.out.substr(0, result.out.find('\n')));
    EXPECT_THAT(json.dump(), HasSubstr("c\u202ed\u2066e")) << name;
  }
}

TEST_F(TerminalTest, JobsShowWhatTellsThemApartAndNotWhatAllOfThemHave) {
  fake.jobs.jobs.clear();
  for (int id = 1; id <= 3; ++id) {
    v1::Job& job = fake.jobs.jobs["jobs/" + std::to_string(id)];
    job.set_name("jobs/" + std::to_string(id));
    job.set_display_name("resnet20");
    job.set_state(v1::Job::SUCCEEDED);
    (*job.mutable_labels())["study"] = "batch";
    (*job.mutable_labels())["batch"] = std::to_string(8 * id);
    job.add_overrides("train.epochs=20");
    job.add_overrides("cluster.batch_per_replica=" + std::to_string(8 * id));
    job.mutable_evaluation()->set_accuracy(0.5);
    job.mutable_evaluation()->set_best_accuracy(0.75);
  }
  const std::string shown = WithoutOwn(OnTerminal({"jobs", "--best"}));
  EXPECT_THAT(shown, HasSubstr("  1  resnet20  batch=8   batch_per_replica=8   SUCCEEDED   50.00 %  75.00 %"));
  EXPECT_THAT(shown, testing::Not(HasSubstr("study")));
  EXPECT_THAT(shown, testing::Not(HasSubstr("epochs")));
  const std::string piped = RunCommand(fake, {"jobs"}).out;
  EXPECT_THAT(piped, HasSubstr("batch=8, study=batch"));
  EXPECT_THAT(piped, HasSubstr("train.epochs=20, cluster.batch_per_replica=8"));
}

TEST_F(TerminalTest, WhatIsAskedForByTheByteGoesIntoAPipeByTheByte) {
  EXPECT_EQ(RunCommand(fake, {"logs", "17"}).out,
            fake.logs.logs.at("jobs/17/attempts/1/logs/output"));
  EXPECT_EQ(RunCommand(fake, {"job", "17", "--run-file"}).out, kHostile);
}

}  // namespace
}  // namespace syncbn
