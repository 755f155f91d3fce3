// Tags of mpirun in every position, and what becomes of them.
#include "coordinator/launch/output_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

std::string Logged(const std::vector<std::string>& pieces, bool tagged = true) {
  TempFolder folder;
  OutputLog log({.path = folder.path() / "log", .tagged = tagged});
  for (const std::string& piece : pieces) log.Add(0, piece);
  log.Finish();
  return ReadFile(folder.path() / "log");
}

TEST(OutputLog, WholeLinesGetTheirRank) {
  EXPECT_EQ(Logged({"[1,0]<stdout>:hello\n[1,12]<stderr>:bad\nmpirun says\n"}),
            "0: hello\n12: bad\n-: mpirun says\n");
}

TEST(OutputLog, PartsOfLinesOfSeveralRanksAreJoined) {
  EXPECT_EQ(Logged({"[1,0]<stdout>:partial [1,1]<stdout>:other "
                    "[1,0]<stdout>:end\n[1,1]<stdout>:line[1,1]<stdout>:\n"}),
            "0: partial end\n1: other line\n");
}

TEST(OutputLog, EveryWayToCutTheOutputGivesTheSameLog) {
  const std::string text =
      "[1,0]<stdout>:a[b] [1,2 no tag [1,2]<stdout>x\nmpirun: "
      "[note]\n[1,3]<stddiag>:d[1,0]<stderr>:e\n[1,3]<stdout>:f\n\n[1,1]<stdout>:\n";
  const std::string whole = Logged({text});
  EXPECT_EQ(whole,
            "0: a[b] [1,2 no tag [1,2]<stdout>x\n-: mpirun: [note]\n0: e\n3: df\n-: \n1: \n");
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(Logged({text.substr(0, cut), text.substr(cut)}), whole) << cut;
  }
  std::vector<std::string> bytes;
  for (char c : text) bytes.emplace_back(1, c);
  EXPECT_EQ(Logged(bytes), whole);
}

TEST(OutputLog, WhatHasNoEndIsWrittenAtTheEndAndSaysSo) {
  EXPECT_EQ(Logged({"[1,0]<stdout>:no end"}), "0+ no end\n");
  EXPECT_EQ(Logged({"text [1,0]<std"}), "-+ text [1,0]<std\n");
}

TEST(OutputLog, WhatARankPrintsIsItsOwnAlsoWhereItLooksLikeATagOrALabel) {
  RankEncoder encoder;
  std::string said = encoder.Encode(0, "[1,3]<stdout>:forged\n3: too\n");
  said += encoder.Encode(1, "back\\slash\n");
  said += encoder.Encode(0, "no end");
  const std::string expected = "1: [1,3]<stdout>:forged\n1: 3: too\n1: back\\slash\n1+ no end\n";
  for (size_t cut = 0; cut <= said.size(); ++cut) {
    EXPECT_EQ(Logged({"[1,1]<stdout>:" + said.substr(0, cut), "[1,1]<stdout>:" + said.substr(cut)}),
              expected)
        << cut;
    // srun cuts long lines, wherever it likes.
    EXPECT_EQ(Logged({"1: " + said.substr(0, cut) + "\n1: " + said.substr(cut) + "\n"}, false),
              expected)
        << cut;
  }
}

// A box of mpirun's around `text`.
std::string Box(const std::string& text) {
  const std::string rule(74, '-');
  return Join(std::vector<std::string>{rule, text, rule, ""}, "\n");
}

TEST(OutputLog, MpirunsBoxAboutAnErrorThatItsRankHasToldIsLeftOut) {
  const std::string first =
      Box("Primary job  terminated normally, but 1 process returned\na non-zero exit "
          "code. Per user-direction, the job has been aborted.");
  const std::string second =
      Box("mpirun detected that one or more processes exited with non-zero status, "
          "thus causing\nthe job to be terminated. The first process to do so was:\n\n"
          "  Process name: [[21873,1],1]\n  Exit code:    3");
  TempFolder folder;
  for (const bool told : {true, false}) {
    OutputLog log({.path = folder.path() / (told ? "told" : "silent")});
    log.Add(1, first + second + "mpirun: more\n");
    if (told) log.Add(1, "[1,1]<stderr>:syncbn: no such data\n");  // may come in later
    log.Finish();
    const std::string text = ReadFile(folder.path() / (told ? "told" : "silent"));
    EXPECT_EQ(log.launcher_text(), first + second + "mpirun: more\n");
    if (told) {
      EXPECT_EQ(text, "-: mpirun: more\n1: syncbn: no such data\n");
    } else {
      EXPECT_TRUE(text.starts_with("-: mpirun: more\n-: -----")) << text;
      EXPECT_NE(text.find("-:   Exit code:    3\n"), std::string::npos) << text;
    }
  }
}

TEST(OutputLog, AnyOtherBoxOfMpirunIsKept) {
  const std::string box =
      Box("mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 "
          "(Killed).");
  const std::string text = Logged({"[1,1]<stderr>:x\n" + box});
  EXPECT_NE(text.find("-: mpirun noticed that process rank 1"), std::string::npos) << text;
  const std::string open = std::string(74, '-') + "\nnever closed\n";
  EXPECT_NE(Logged({open}).find("-: never closed\n"), std::string::npos);
}

TEST(OutputLog, LabelsOfSrunBecomeRanks) {
  EXPECT_EQ(Logged({" 3: hello\n12: x: y\nsrun: error: task 3\n4:no\n: z\n"}, false),
            "3: hello\n12: x: y\n-: srun: error: task 3\n-: 4:no\n-: : z\n");
}

TEST(OutputLog, AVeryLongLineComesInPiecesThatSayThatTheyAreNoLines) {
  const std::string piece(16 * 1024, 'x');
  EXPECT_EQ(Logged({"[1,0]<stdout>:" + piece + piece + "yy\n"}),
            "0+ " + piece + "\n0+ " + piece + "\n0: yy\n");
  EXPECT_EQ(Logged({"[1,0]<stdout>:" + piece + "\n"}), "0: " + piece + "\n");
}

TEST(OutputLog, AFullDiskDropsLinesAndSaysHowMany) {
  OutputLog log({.path = "/dev/full"});
  log.Add(0, "[1,0]<stdout>:a\n[1,0]<stdout>:b\n");
  log.Finish();
  EXPECT_EQ(log.dropped_lines(), 2);
  EXPECT_EQ(log.tail(), "0: a\n0: b\n");
}

TEST(OutputLog, TheTailsHoldTheLastWholeLines) {
  TempFolder folder;
  OutputLog log({.path = folder.path() / "log"});
  for (int i = 0; i < 5000; ++i) {
    log.Add(0, "[1,1]<stdout>:line " + std::to_string(i) + "\n");
    if (i % 2 == 0) log.Add(1, "note " + std::to_string(i) + "\n");
  }
  EXPECT_LT(log.tail().size(), 17'000u);
  EXPECT_GT(log.tail().size(), 8'000u);
  EXPECT_TRUE(log.tail().ends_with("1: line 4998\n-: note 4998\n1: line 4999\n"));
  EXPECT_TRUE(log.launcher_text().ends_with("\nnote 4996\nnote 4998\n"));
  EXPECT_TRUE(log.tail().starts_with("1: line ") || log.tail().starts_with("-: note "));
}

}  // namespace
}  // namespace syncbn::coordinator
