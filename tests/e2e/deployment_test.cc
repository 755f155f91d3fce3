// The files in launch/ and docker/ say what the program and the package lists say, on machines
// where neither systemd nor a container engine runs. (tests/image builds the image and runs it.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/process.h"
#include "tests/support/source_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Names of packages, one a line.
std::set<std::string> Packages(const fs::path& file) {
  std::set<std::string> packages;
  std::istringstream lines(SourceText(file));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] != '#') packages.insert(line);
  }
  return packages;
}

// What a subcommand says of itself; empty where there is none of that name.
std::string HelpOf(const std::string& subcommand) {
  static std::map<std::string, std::string> known;
  const auto [found, is_new] = known.try_emplace(subcommand);
  if (is_new) {
    const ProcessResult result = RunProcess({.argv = {SyncbnProgram(), subcommand, "--help"}});
    // An unknown one gets the help of the whole program.
    if (result.out.find("Usage: syncbn " + subcommand + " ") != std::string::npos) {
      found->second = result.out;
    }
  }
  return found->second;
}

bool Knows(const std::string& help, const std::string& option) {
  return std::regex_search(help, std::regex("[ ,]" + option + "[^a-z-]"));
}

// A use of the program in a file: "serve" and the options that follow.
struct Use {
  std::string subcommand;
  std::vector<std::string> options;
};

// `syncbn NAME --option ...` in scripts, units and documents, over continued lines.
std::vector<Use> UsesIn(std::string text) {
  text = std::regex_replace(text, std::regex("\\\\\n#?"), " ");
  const std::regex use("(?:syncbn|\\$program)[\"'`]?,? +[\"']?([a-z]+)\\b([^\n;|&`]*)");
  const std::regex option("(?:^|[ \"'\\[])(--[a-z][a-z-]*)");
  std::vector<Use> uses;
  for (std::sregex_iterator at(text.begin(), text.end(), use), end; at != end; ++at) {
    Use found{.subcommand = (*at)[1]};
    const std::string rest = (*at)[2];
    for (std::sregex_iterator o(rest.begin(), rest.end(), option); o != end; ++o) {
      found.options.push_back((*o)[1]);
    }
    uses.push_back(std::move(found));
  }
  return uses;
}

void ExpectKnown(const std::string& where, const Use& use) {
  const std::string help = HelpOf(use.subcommand);
  // Prose, such as "syncbn in an image", has no options.
  if (use.options.empty()) return;
  EXPECT_NE(help, "") << where << " uses `syncbn " << use.subcommand << "`, which does not exist";
  for (const std::string& option : use.options) {
    EXPECT_TRUE(Knows(help, option)) << where << ": `syncbn " << use.subcommand << "` has no " << option;
  }
}

TEST(Deployment, EveryCommandAndOptionInTheFilesIsOneOfTheProgram) {
  int serves = 0, trains = 0;
  for (const char* file :
       {"launch/syncbn-coordinator.service", "launch/syncbn.sbatch", "launch/hosts.example.yaml",
        "docker/Dockerfile", "docker/compose.yaml", "docker/coordinator", "docker/worker-host",
        "docker/hosts.yaml", "docker/README.md"}) {
    std::string text = SourceText(file);
    for (const Use& use : UsesIn(text)) {
      ExpectKnown(file, use);
      serves += use.subcommand == "serve" && !use.options.empty();
      trains += use.subcommand == "train";
    }
  }
  EXPECT_GE(serves, 3) << "the unit, the coordinator's script, the host file";
  EXPECT_GE(trains, 1);
}

TEST(Deployment, TheImageStartsTheCoordinatorByAKnownCommand) {
  std::smatch match;
  const std::string text = SourceText("docker/Dockerfile");
  ASSERT_TRUE(std::regex_search(text, match, std::regex("\nCMD (\\[.*\\])")));
  const auto command = YAML::Load(match[1].str()).as<std::vector<std::string>>();
  Use use{.subcommand = command.at(0)};
  for (const std::string& word : command) {
    if (word.starts_with("--")) use.options.push_back(word);
  }
  EXPECT_EQ(use.subcommand, "serve");
  ExpectKnown("docker/Dockerfile", use);
}

TEST(Deployment, TheComposeFileHasTheHostsOfItsHostsFileAndKnownOptions) {
  const YAML::Node compose = YAML::Load(SourceText("docker/compose.yaml"));
  const auto command = compose["services"]["coordinator"]["command"].as<std::vector<std::string>>();
  const auto separator = std::find(command.begin(), command.end(), "--");
  ASSERT_NE(separator, command.end());
  std::vector<std::string> hosts;
  for (const YAML::Node& host : YAML::Load(SourceText("docker/hosts.yaml"))["hosts"]) {
    hosts.push_back(host["name"].as<std::string>());
  }
  EXPECT_EQ(std::vector<std::string>(command.begin(), separator), hosts);
  EXPECT_FALSE(hosts.empty());
  for (const std::string& host : hosts) {
    const YAML::Node service = compose["services"][host];
    ASSERT_TRUE(service.IsDefined()) << "no service " << host;
    EXPECT_EQ(service["command"].as<std::vector<std::string>>(), std::vector<std::string>{host});
    EXPECT_EQ(service["hostname"].as<std::string>(), host);
  }
  Use use{.subcommand = "serve"};
  for (auto word = separator + 1; word != command.end(); ++word) {
    if (word->starts_with("--")) use.options.push_back(*word);
  }
  EXPECT_FALSE(use.options.empty());
  ExpectKnown("docker/compose.yaml", use);
  EXPECT_EQ(compose["services"].size(), 1 + hosts.size());
  for (const auto& service : compose["services"]) {
    const std::string name = service.first.as<std::string>();
    EXPECT_EQ(service.second["entrypoint"].as<std::vector<std::string>>(),
              (std::vector<std::string>{"tini", "--",
                                        name == "coordinator" ? "coordinator" : "worker-host"}));
  }
  for (const char* file : {"coordinator", "worker-host"}) {
    EXPECT_TRUE(fs::exists(kSourceRoot / "docker" / file));
  }
}

TEST(Deployment, TheHostsFilesAreTakenByTheCoordinator) {
  for (const char* file : {"launch/hosts.example.yaml", "docker/hosts.yaml"}) {
    TempFolder folder;
    Process serve({.argv = {SyncbnProgram(), "serve", "--data", folder.path() / "data", "--listen",
                            "127.0.0.1:0", "--http", "off", "--hosts", kSourceRoot / file}});
    EXPECT_TRUE(serve.WaitForText("syncbn serves on ", std::chrono::seconds(90)))
        << file << ": " << serve.Err();
    serve.Signal(SIGTERM);
    const ProcessResult result = serve.Wait();
    EXPECT_EQ(result.status, 0) << file;
    // Its hosts are other machines, and it listens on loopback.
    EXPECT_THAT(result.err, HasSubstr("cannot reach this coordinator at 127.0.0.1:")) << file;
    EXPECT_THAT(result.err, HasSubstr("--listen 0.0.0.0:7700 --advertise NAME:7700")) << file;
  }
}

TEST(Deployment, EveryFileThatTheImageCopiesIsInItsContext) {
  const std::string ignore = SourceText(".dockerignore");
  std::istringstream lines(SourceText("docker/Dockerfile"));
  int copies = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("COPY ") || line.find("--from") != std::string::npos) continue;
    std::istringstream words(line.substr(5));
    std::vector<std::string> files;
    for (std::string word; words >> word;) files.push_back(word);
    files.pop_back();
    for (const std::string& file : files) {
      ++copies;
      EXPECT_TRUE(fs::exists(kSourceRoot / file)) << file;
      const std::string top = file.substr(0, file.find('/'));
      const bool kept = ignore.find("\n!" + file + "\n") != std::string::npos ||
                        ignore.find("\n!" + top + "\n") != std::string::npos;
      EXPECT_TRUE(kept) << file << " is left out by .dockerignore";
    }
  }
  EXPECT_GE(copies, 8);
}

TEST(Deployment, EveryFileThatTheBuildReadsIsCopiedIntoTheImage) {
  const std::string dockerfile = SourceText("docker/Dockerfile");
  const std::string first_stage =
      dockerfile.substr(0, dockerfile.find("\nFROM ", dockerfile.find(" AS build")));
  const std::string cmake = SourceText("CMakeLists.txt");
  const std::regex read("\n(?:include|add_subdirectory)\\(([a-z]+)[/)]");
  int count = 0;
  for (std::sregex_iterator at(cmake.begin(), cmake.end(), read), end; at != end; ++at, ++count) {
    const std::string folder = (*at)[1];
    EXPECT_THAT(first_stage, HasSubstr("\nCOPY " + folder + " " + folder + "\n"));
  }
  EXPECT_GE(count, 4);
}

// With every version, as one release of CUDA needs; and the compiler is of the same as the library
// it links.
TEST(Deployment, TheWheelsOfNvidiaAreOfOneRelease) {
  std::istringstream lines(SourceText("launch/nvidia-wheels.txt"));
  std::map<std::string, std::string> versions;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#")) continue;
    const size_t equals = line.find("==");
    ASSERT_NE(equals, std::string::npos) << line;
    versions[line.substr(0, equals)] = line.substr(equals + 2);
  }
  for (const char* package : {"nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13"}) {
    EXPECT_TRUE(versions.contains(package)) << package;
  }
  const std::string release = versions["nvidia-cuda-nvcc"].substr(0, 5);
  EXPECT_EQ(release, "13.0.");
  for (const char* package : {"nvidia-cuda-crt", "nvidia-cuda-runtime", "nvidia-nvvm"}) {
    EXPECT_TRUE(versions[package].starts_with(release)) << package;
  }
  EXPECT_THAT(SourceText("docker/Dockerfile"), HasSubstr("launch/get-cuda /opt/nvidia;"));
}

// The libraries of the built program against the packages of the image.
TEST(Deployment, TheImageHasThePackageOfEveryLibraryThatTheProgramNeeds) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitized program is linked with more than it needs";
#endif
  const ProcessResult needed = RunProcess({.argv = {"readelf", "-d", SyncbnProgram()}});
  const ProcessResult paths = RunProcess({.argv = {"ldd", SyncbnProgram()}});
  if (needed.status != 0 || RunProcess({.argv = {"dpkg", "--version"}}).status != 0) {
    GTEST_SKIP() << "readelf and dpkg are needed";
  }
  std::set<std::string> packages = Packages("docker/runtime-packages.txt");
  // Of every Debian, and what the compiler's own libraries bring.
  packages.insert({"libc6", "libstdc++6", "libgcc-s1"});
  const std::regex library("Shared library: \\[([^\\]]+)\\]");
  int count = 0;
  for (std::sregex_iterator at(needed.out.begin(), needed.out.end(), library), end; at != end; ++at) {
    const std::string name = (*at)[1];
    if (std::regex_search(name, std::regex("^lib[atu][a-z]*san|^ld-linux"))) continue;
    const size_t line = paths.out.find("\t" + name + " => ");
    ASSERT_NE(line, std::string::npos) << name;
    const size_t start = paths.out.find("=> ", line) + 3;
    const fs::path path = fs::canonical(paths.out.substr(start, paths.out.find(' ', start) - start));
    // Merged /usr: the package may know the file by its old name.
    ProcessResult owner = RunProcess({.argv = {"dpkg", "-S", path}});
    if (owner.status != 0) owner = RunProcess({.argv = {"dpkg", "-S", path.string().substr(4)}});
    ASSERT_EQ(owner.status, 0) << path << " is of no package";
    const std::string package = owner.out.substr(0, owner.out.find(':'));
    EXPECT_TRUE(packages.count(package)) << name << " is in " << package
                                         << ", which docker/runtime-packages.txt does not have";
    ++count;
  }
  EXPECT_GE(count, 10);
}

TEST(Deployment, TheScriptsAreBash) {
  for (const char* file : {"launch/syncbn.sbatch", "docker/coordinator", "docker/worker-host",
                           "launch/build", "launch/get-cuda", "launch/test", "launch/demo"}) {
    const ProcessResult result = RunProcess({.argv = {"bash", "-n", kSourceRoot / file}});
    EXPECT_EQ(result.status, 0) << result.err;
    const bool runs = (fs::status(kSourceRoot / file).permissions() & fs::perms::owner_exec) != fs::perms::none;
    EXPECT_TRUE(runs || fs::path(file).extension() == ".sbatch") << file << " is not executable";
  }
}

TEST(Deployment, SystemdTakesTheUnit) {
  TempFolder folder;
  const fs::path unit = folder.path() / "syncbn-coordinator.service";
  const std::string text = std::regex_replace(SourceText("launch/syncbn-coordinator.service"),
                                              std::regex("=/usr/local/bin/syncbn "),
                                              "=" + SyncbnProgram() + " ");
  std::ofstream(unit) << text;
  const ProcessResult result = RunProcess({.argv = {"systemd-analyze", "verify", unit}});
  if (result.status == 127) GTEST_SKIP() << "systemd-analyze is not installed";
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err, "");
}

}  // namespace
}  // namespace syncbn
