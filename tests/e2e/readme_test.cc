// The README's commands run as they stand there, copied whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/host.h"
#include "tests/support/process.h"
#include "tests/support/source_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// The first block of shell commands below a text.
std::string BlockBelow(const std::string& text) {
  const std::string readme = SourceText("README.md");
  const size_t section = readme.find(text);
  if (section == std::string::npos) return "";
  const std::string fence = "```sh\n";
  const size_t begin = readme.find(fence, section) + fence.size();
  return readme.substr(begin, readme.find("```", begin) - begin);
}

// A mirror of CIFAR-10 as its publisher packs it, every image black, and the sums of its archive.
void MakeCifarMirror(const fs::path& mirror) {
  const fs::path folder = mirror / "cifar-10-batches-bin";
  fs::create_directories(folder);
  const std::string record(1 + 3072, '\0');
  std::string images;
  for (int i = 0; i < 10'000; ++i) images += record;
  for (const char* name : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4",
                           "data_batch_5", "test_batch"}) {
    std::ofstream(folder / (std::string(name) + ".bin"), std::ios::binary) << images;
  }
  std::ofstream(folder / "batches.meta.txt") << "airplane\n";
  const ProcessResult packed = RunProcess(
      {.argv = {"sh", "-c",
                "tar c cifar-10-batches-bin | gzip -1 > cifar-10-binary.tar.gz && "
                "rm -r cifar-10-batches-bin && md5sum cifar-10-binary.tar.gz > sums"},
       .working_folder = mirror});
  ASSERT_EQ(packed.status, 0) << packed.err;
}

TEST(Readme, TheTrainBlockRunsAsItStands) {
  if (std::system("command -v curl >/dev/null") != 0) GTEST_SKIP() << "curl is not installed";
  const std::string block = BlockBelow("\n## Train\n");
  ASSERT_THAT(block, HasSubstr("launch/get-data"));
  ASSERT_THAT(block, HasSubstr("mpirun"));
  TempFolder folder;
  MakeCifarMirror(folder.path() / "mirror");
  const fs::path tree = folder.path() / "tree";
  fs::create_directories(tree / "build/bin");
  fs::create_directory_symlink(kSourceRoot / "launch", tree / "launch");
  fs::create_directory_symlink(kSourceRoot / "configs", tree / "configs");
  fs::create_symlink(SyncbnProgram(), tree / "build/bin/syncbn");

  // By Debian's plain shell: a newcomer's need not be bash. It takes note of SIGTERM only when mpirun has ended.
  Process shell({.argv = {"dash", "-e", "-c", "trap : TERM\n" + block},
                 .environment = {{"SYNCBN_MIRROR", "file://" + (folder.path() / "mirror").string()},
                                 {"SYNCBN_MD5SUMS", (folder.path() / "mirror/sums").string()}},
                 .timeout = std::chrono::seconds(240),
                 .working_folder = tree});
  // Twenty epochs take hours; the first step shows that data, configuration and program fit together.
  const fs::path metrics = tree / "runs/r20/metrics.jsonl";
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(200);
  while (TextSoFar(metrics).find("\"step\"") == std::string::npos) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << shell.Out() << shell.Err();
    ASSERT_EQ(::kill(shell.pid(), 0), 0) << shell.Out() << shell.Err();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_THAT(shell.Out(), HasSubstr("cifar10 is complete in "));
  ::kill(-shell.pid(), SIGTERM);
  EXPECT_FALSE(shell.Wait().timed_out);
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

TEST(Readme, TheBlockOfWhatWasTrainedRunsAsItStandsButForItsSteps) {
  const std::string block = BlockBelow("\n## Use what was trained\n");
  for (const char* command : {"export", "evaluate", "predict", "model.init.from", "train.freeze"}) {
    ASSERT_THAT(block, HasSubstr(command));
  }
  TempFolder folder;
  fs::create_directories(folder.path() / "build/bin");
  fs::create_directory_symlink(kSourceRoot / "configs", folder.path() / "configs");
  fs::create_symlink(SyncbnProgram(), folder.path() / "build/bin/syncbn");
  const std::string run_file = "configs/shapes-demo.yaml";
  const std::string few = run_file +
                          " --set train.max_steps=2 --set data.shapes.train_samples=256" +
                          " --set data.shapes.test_samples=64";
  // A PNG of one pixel.
  const std::string image =
      "echo "
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+"
      "M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
      " | base64 -d > image.png\n";
  const ProcessResult result =
      RunProcess({.argv = {"dash", "-e", "-c", image + Replaced(block, run_file, few)},
                  .working_folder = folder.path()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("precise"));
  EXPECT_THAT(result.out, HasSubstr("{\"image\":\"image.png\",\"top\":[{\"label\":"));
  EXPECT_TRUE(fs::exists(folder.path() / "tuned.onnx"));
}

TEST(Readme, TheCommandForSeveralMachinesServesWhereTheyReachItWithATokenOnly) {
  const std::string block = BlockBelow("**Several machines**");
  const size_t begin = block.find("syncbn serve");
  ASSERT_NE(begin, std::string::npos);
  TempFolder folder;
  const fs::path data = folder.path() / "data";
  std::ofstream(folder.path() / "hosts.yaml")
      << "hosts: [{name: localhost, slots: 1}, {name: node1.invalid, slots: 1}]\n";
  fs::create_directories(folder.path() / "bin");
  fs::create_symlink(SyncbnProgram(), folder.path() / "bin/syncbn");
  // Its ports may be taken here.
  std::string command = Replaced(block.substr(begin), ":7700", ":0");
  command = Replaced(command, "syncbn serve", "exec syncbn serve --http off");
  command = Replaced(Replaced(command, "DIR", data.string()), "NAME", HostName());
  Process serve({.argv = {"dash", "-e", "-c", command},
                 .environment = {{"PATH", (folder.path() / "bin").string() + ":" + std::getenv("PATH")}},
                 .working_folder = folder.path()});
  const std::string serves = "syncbn serves on 0.0.0.0:";
  ASSERT_TRUE(serve.WaitForText(serves, std::chrono::seconds(90))) << serve.Err();
  const std::string out = serve.Out();
  const size_t port = out.find(serves) + serves.size();
  const std::string address = "127.0.0.1:" + out.substr(port, out.find(' ', port) - port);
  const std::vector<std::string> status = {SyncbnProgram(), "status", "--coordinator", address};
  std::vector<std::string> with_token = status;
  with_token.insert(with_token.end(), {"--token-file", (data / "admin-token").string()});
  EXPECT_EQ(RunProcess({.argv = with_token}).status, 0);
  EXPECT_EQ(RunProcess({.argv = status, .environment = {{"SYNCBN_USER_TOKEN", ""}}}).status, 2);
  serve.Signal(SIGTERM);
  const ProcessResult result = serve.Wait();
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("cannot reach this coordinator")));
}

}  // namespace
}  // namespace syncbn
