// What ranks print, from them through real mpirun into the log: every byte, whatever becomes of
// them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/host.h"
#include "coordinator/job/classify.h"
#include "coordinator/launch/rank_stream.h"
#include "tests/coordinator/launch/launcher_fixture.h"
#include "tests/coordinator/launch/rank_text.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RankOutputTest : public SupervisedLauncherTest {
 protected:
  RankOutputTest() { WriteFileAtomically(file_, HardText()); }

  std::string LogOf() { return ReadFile(AttemptFolder(request.attempt.folder).output_log()); }

  const std::filesystem::path file_ = folder.path() / "text";
};

TEST_F(RankOutputTest, EveryByteArrivesUnderItsRank) {
  request.program = {kTool, "print", file_};
  launcher().Start(request);
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.exit_code(), 0) << exit.launcher_text();
  const std::string log = LogOf();
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_TRUE(PrintedBy(rank, log, {"begins\n"}) == HardText()) << "rank " << rank;
    EXPECT_THAT(log, HasSubstr(std::to_string(rank) + ": begins\n"));
  }
  EXPECT_EQ(log.find("\n3"), std::string::npos) << "nobody speaks as rank 3";
}

TEST_F(RankOutputTest, EveryByteOfARankThatIsKilledArrivesAndTheLauncherNamesItsSignal) {
  request.request.processes = 1;
  request.placement = {{"localhost", 1}};
  request.program = {kTool, "print", file_, "kill"};
  launcher().Start(request);
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_TRUE(PrintedBy(0, LogOf(), {"begins\n"}) == HardText());
  const Verdict verdict = Classify(exit, {}, 1, 1);
  ASSERT_TRUE(verdict.failure.has_value());
  EXPECT_EQ(verdict.failure->message, "rank 0 on " + HostName() + " was ended by SIGKILL");
  EXPECT_THAT(LogOf(), HasSubstr("exited on signal 9")) << "nobody else says so";
}

TEST_F(RankOutputTest, AProgramThatARankBecomesPrintsByLinesToo) {
  request.request.processes = 1;
  request.placement = {{"localhost", 1}};
  request.program = {kTool, "become"};
  launcher().Start(request);
  WaitForEnd();
  EXPECT_THAT(LogOf(), HasSubstr("said by what the rank became\n"));
}

TEST_F(RankOutputTest, AnExitCodeComesThroughAndIsNotExplainedAfterTheRanksOwnWords) {
  WriteFileAtomically(file_, "done\n");
  request.program = {kTool, "print", file_, "exit", "3"};
  launcher().Start(request);
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.exit_code(), 3);
  // Whether or not mpirun comes to say which rank it was: it does not every time on a busy machine.
  ASSERT_GE(exit.rank_ends_size(), 1);
  EXPECT_EQ(exit.rank_ends(0).exit_code(), 3);
  EXPECT_THAT(LogOf(), Not(HasSubstr("---")));
  const Verdict verdict = Classify(exit, {}, 2, 1);
  ASSERT_TRUE(verdict.failure.has_value());
  EXPECT_THAT(verdict.failure->message, HasSubstr("left with exit code 3"));
  EXPECT_THAT(verdict.failure->rank, ::testing::AnyOf(0, 1));
}

TEST(RankStream, WhatIsEncodedComesBackWhereverItIsCut) {
  RankEncoder encoder;
  // In this order: what is sent depends on what was.
  std::string text = encoder.Encode(0, "a\n[b\\");
  text += encoder.Encode(1, "n\\o\n");
  text += encoder.Encode(0, "[");
  EXPECT_EQ(text.find_first_of("[\n"), std::string::npos) << text;
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    RankDecoder decoder;
    std::string bytes[2];
    for (const std::string& part : {text.substr(0, cut), "\n" + text.substr(cut)}) {
      // A line end between is nothing, also inside the beginning and before it.
      for (const auto& piece : decoder.Feed(part)) bytes[piece.stream] += piece.bytes;
    }
    EXPECT_EQ(bytes[0], "a\n[b\\[") << cut;
    EXPECT_EQ(bytes[1], "n\\o\n") << cut;
  }
}

TEST(RankStream, HowARankEndedComesLastWhereverItIsCut) {
  for (const auto& [code, signal] : {std::pair(3, 0), std::pair(0, 9), std::pair(255, 0)}) {
    RankEncoder encoder;
    std::string text = encoder.Encode(0, "x3.");
    text += encoder.End(code, signal);
    for (size_t cut = kRankStreamBegin.size(); cut <= text.size(); ++cut) {
      RankDecoder decoder;
      std::string bytes;
      for (const std::string& part : {text.substr(0, cut), "\n" + text.substr(cut)}) {
        for (const auto& piece : decoder.Feed(part)) bytes += piece.bytes;
      }
      EXPECT_EQ(bytes, "x3.") << cut;
      ASSERT_TRUE(decoder.end().has_value()) << cut;
      EXPECT_EQ(decoder.end()->exit_code, code);
      EXPECT_EQ(decoder.end()->signal, signal);
    }
  }
  EXPECT_EQ(RankEncoder().End(0, 0), "") << "a silent rank that ends well sends nothing";
  RankDecoder decoder;
  EXPECT_TRUE(decoder.Feed(RankEncoder().End(7, 0)).empty());
  EXPECT_EQ(decoder.end()->exit_code, 7) << "of a rank that has printed nothing";
}

TEST(RankStream, ATextThatDoesNotBeginAsOneIsPassedOnAsItIs) {
  for (const std::string& text : std::vector<std::string>{"\\syncbn-output", "\\n[x]\n", "plain\n"}) {
    RankDecoder decoder;
    std::string bytes;
    for (const char c : text) {
      for (const auto& piece : decoder.Feed({&c, 1})) bytes += piece.bytes;
    }
    for (const auto& piece : decoder.Finish()) bytes += piece.bytes;
    EXPECT_EQ(bytes, text);
  }
}

}  // namespace
}  // namespace syncbn::coordinator
