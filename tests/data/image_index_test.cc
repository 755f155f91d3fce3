// The index of a folder of images: what is in it, and when it holds.
#include "data/image_index.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <thread>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "data/index_lock.h"
#include "tests/data/image_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::vector<std::string> NamesOf(const ImageIndex& index) {
  std::vector<std::string> names;
  for (const IndexedImage& image : index.images) names.emplace_back(index.Name(image));
  return names;
}

void Touch(const fs::path& path, std::chrono::seconds ago) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - ago);
}

class ImageIndexTest : public ::testing::Test {
 protected:
  ImageIndexTest() {
    ::setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
    Add("cat/1.png");
    Add("dog/1.png");
  }
  ~ImageIndexTest() override { ::unsetenv("XDG_CACHE_HOME"); }

  fs::path train() const { return folder_.path() / "train"; }
  void Add(const fs::path& name, int shift = 0) const {
    fs::create_directories((train() / name).parent_path());
    WritePng(train() / name, Ramp(8, 8, 3, shift));
  }
  void Settle() const { SettleFolder(train()); }

  const TempFolder folder_;
  std::vector<std::string> said_;
  IndexOptions options_{.say = [this](const std::string& line) { said_.push_back(line); }};
};

TEST_F(ImageIndexTest, HasWhatIsNamedAsImagesByClassAndPath) {
  Add("cat/deep/er/2.PNG");
  Add("cat/.hidden.png");
  Add(".git/3.png");
  Add("cat/._1.png");
  Add("dog/\xc3\xa9t\xc3\xa9.png");
  Add("dog/bad\xff.png");
  Add("dog/line\nend.png");
  fs::create_directories(train() / "empty");
  std::ofstream(train() / "cat/Thumbs.db") << "x";
  std::ofstream(train() / "README") << "x";
  // Links to a file, to a folder, and to a folder that holds it.
  Add("../elsewhere/4.png");
  fs::create_symlink(folder_.path() / "elsewhere/4.png", train() / "dog/linked.jpg");
  fs::create_directory_symlink(folder_.path() / "elsewhere", train() / "fox");
  fs::create_directory_symlink("..", train() / "dog/loop");
  const ImageIndex index = ScanImageFolder(train());
  EXPECT_THAT(index.classes, ElementsAre("cat", "dog", "empty", "fox"));
  EXPECT_THAT(index.repeated, ElementsAre("dog/loop leads back to a folder that it lies in"));
  EXPECT_EQ(index.repeated_folders, 1);
  EXPECT_THAT(NamesOf(index), ElementsAre("cat/1.png", "cat/deep/er/2.PNG", "dog/1.png",
                                          "dog/bad\xff.png", "dog/line\nend.png", "dog/linked.jpg",
                                          "dog/\xc3\xa9t\xc3\xa9.png", "fox/4.png"));
  EXPECT_EQ(index.other_files, 2);
  EXPECT_THAT(index.damaged, IsEmpty());
  for (const IndexedImage& image : index.images) {
    EXPECT_EQ(index.Name(image).substr(0, 3),
              index.classes[static_cast<size_t>(image.label)].substr(0, 3));
    EXPECT_GT(image.bytes, 0);
    EXPECT_NE(image.fingerprint, 0u);
  }
}

TEST_F(ImageIndexTest, LinksMultiplyNoFolderAndEnd) {
  // Twelve folders, in each of which is a link to every one: 12! ways through them.
  for (int i = 0; i < 12; ++i) {
    const fs::path folder = train() / "cat" / ("part" + std::to_string(i));
    fs::create_directories(folder);
    for (int k = 0; k < 12; ++k) {
      fs::create_directory_symlink("../part" + std::to_string(k),
                                   folder / ("to" + std::to_string(k)));
    }
    WritePng(folder / "1.png", Ramp(8, 8, 3, i));
  }
  // The folder of another class, a file by two names.
  fs::create_directory_symlink("../dog", train() / "cat/zoo");
  fs::create_symlink("1.png", train() / "cat/again.png");
  const ImageIndex index = ScanImageFolder(train());
  EXPECT_THAT(index.images, SizeIs(2 + 12 + 1));
  EXPECT_THAT(index.repeated, ::testing::SizeIs(20));
  EXPECT_EQ(index.repeated_folders, 12 * 12 + 1);
  EXPECT_TRUE(index.repeated.back().starts_with("cat/part"));
  EXPECT_THAT(NamesOf(index), ::testing::Contains("cat/again.png"));
  EXPECT_THAT(NamesOf(index), ::testing::Not(::testing::Contains("cat/zoo/1.png")));
}

// Whoever may write beside the folder may write an index.
TEST_F(ImageIndexTest, OneThatNamesWhatAFolderCannotHaveDoesNotHold) {
  Settle();
  const ImageIndex good = ScanImageFolder(train());
  ASSERT_EQ(FromBytes(ToBytes(good)), good);
  const auto refused = [&](const auto& change) {
    ImageIndex index = good;
    change(index);
    EXPECT_THROW(FromBytes(ToBytes(index)), Error);
  };
  const auto renamed = [](ImageIndex& index, const std::string& name) {
    index.images[0].name_begin = index.names.size();
    index.images[0].name_bytes = static_cast<uint32_t>(name.size());
    index.names += name;
  };
  for (const char* name :
       {"/etc/shadow", "../secret.png", "cat/../../secret.png", "cat//1.png", "cat/./1.png",
        "cat/.hidden", "cat/", "cat", "dog/1.png", "cats/1.png", ""}) {
    SCOPED_TRACE(name);
    refused([&](ImageIndex& index) { renamed(index, name); });
  }
  refused([&](ImageIndex& index) { renamed(index, std::string("cat/1\0.png", 10)); });
  refused([](ImageIndex& index) { index.classes = {"dog", "cat"}; });
  refused([](ImageIndex& index) { index.classes = {"cat", "cat"}; });
  refused([](ImageIndex& index) { index.classes[1] = "../dog"; });
  refused([](ImageIndex& index) { index.images.insert(index.images.begin(), index.images[0]); });
  refused([](ImageIndex& index) { std::swap(index.images[0], index.images[1]); });
  refused([](ImageIndex& index) { index.folders[1].path = "../../elsewhere"; });
  refused([](ImageIndex& index) { index.damaged = {{.image = 1}, {.image = 1}}; });
  refused([](ImageIndex& index) { index.damaged = {{.image = 2}}; });
  // It is made anew, which is said.
  const fs::path file = folder_.path() / ".train.syncbn-index";
  ImageIndex bad = good;
  renamed(bad, "cat/../../secret.png");
  std::ofstream(file, std::ios::binary) << ToBytes(bad);
  EXPECT_EQ(NamesOf(IndexOf(train(), options_)), NamesOf(good));
  EXPECT_THAT(said_, ElementsAre(AllOf(HasSubstr(file.string() + " does not hold"),
                                       HasSubstr("does not lie in the folder of its class"),
                                       HasSubstr("looked at anew"))));
  IndexOf(train(), options_);
  EXPECT_THAT(said_, SizeIs(1)) << "once";
}

TEST_F(ImageIndexTest, WhatLiesInItsPlaceIsNotWaitedFor) {
  Settle();
  const fs::path file = folder_.path() / ".train.syncbn-index";
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((file.string() + ".lock").c_str(), 0600), 0);
  const ImageIndex index = IndexOf(train(), options_);
  EXPECT_THAT(index.images, SizeIs(2));
  EXPECT_THAT(said_, ElementsAre(HasSubstr(file.string() + " is a pipe, not a file")));
  EXPECT_EQ(IndexOf(train()), index) << "kept in the cache";
}

// By a stranger, who shows no sign of life, on the folder of the data or in the place of the lock.
TEST_F(ImageIndexTest, AStrangersLocksAreNotWaitedForForEver) {
  Settle();
  const fs::path lock = folder_.path() / ".train.syncbn-index.lock";
  std::ofstream(lock) << "x";
  const Descriptor folder(::open(train().c_str(), O_RDONLY)), file(::open(lock.c_str(), O_RDONLY));
  ASSERT_EQ(::flock(folder.get(), LOCK_EX), 0);
  ASSERT_EQ(::flock(file.get(), LOCK_EX), 0);
  options_.patience = std::chrono::milliseconds(300);
  EXPECT_THAT(IndexOf(train(), options_).images, SizeIs(2));
  EXPECT_THAT(said_, ElementsAre(HasSubstr("shows no sign of life")));
}

// Shows signs of life for ever. Whoever removes its lock is not waited for by it, either.
TEST_F(ImageIndexTest, AStrangerWhoLivesIsToldOfAgainAndAgainUntilItsLockIsRemoved) {
  Settle();
  options_.patience = std::chrono::minutes(10);
  options_.beat = std::chrono::milliseconds(50);
  options_.remind = std::chrono::milliseconds(400);
  const std::vector<fs::path> files = IndexFiles(fs::canonical(train()));
  const fs::path lock = files[0].string() + ".lock";
  std::optional<IndexLock> stranger(std::in_place, files, train(), options_);
  std::jthread impatient([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2400));
    fs::remove(lock);
  });
  EXPECT_THAT(IndexOf(train(), options_).images, SizeIs(2));
  ASSERT_GE(said_.size(), 3U);
  EXPECT_THAT(said_[0], AllOf(StartsWith("waiting for another process"), Not(HasSubstr("remove"))));
  EXPECT_THAT(said_[2], AllOf(HasSubstr("waiting for "), HasSubstr(" s now for another process"),
                              HasSubstr("remove " + lock.string() + " to wait no longer")));
  std::ofstream(lock) << "somebody else's by now";
  stranger.reset();
  EXPECT_TRUE(fs::exists(lock));
}

// As it is held by one that lives.
TEST_F(ImageIndexTest, WhoLooksIsWaitedForAndHasAllThatIsNeeded) {
  std::ofstream(train() / "cat/bad.png") << "no image";
  Settle();
  options_.patience = std::chrono::milliseconds(4000);
  options_.beat = std::chrono::milliseconds(50);
  const std::vector<fs::path> files = IndexFiles(fs::canonical(train()));
  std::optional<IndexLock> other(std::in_place, files, train(), options_);
  ImageIndex got;
  std::jthread waiting([&] { got = IndexOf(train(), options_); });
  std::this_thread::sleep_for(std::chrono::seconds(6));
  // With a file that is damaged, and a folder that has only just changed: told, it is not looked
  // at.
  Touch(train() / "cat", std::chrono::seconds(0));
  const ImageIndex found = ScanImageFolder(train());
  WriteFileAtomically(files[0], ToBytes(found));
  other->Tell(found.begun);
  other.reset();
  waiting.join();
  EXPECT_EQ(got, found) << "another look has another time";
  EXPECT_THAT(said_, ElementsAre(HasSubstr("waiting for another process")));
  EXPECT_FALSE(fs::exists(files[0].string() + ".lock"));
}

TEST_F(ImageIndexTest, DamageHoldsWhileTheFileIsTheSame) {
  std::ofstream(train() / "cat/bad.png") << "no image";
  Settle();
  const ImageIndex first = IndexOf(train());
  ASSERT_THAT(first.damaged, SizeIs(1));
  EXPECT_EQ(IndexOf(train()), first) << "not looked at again";
}

TEST_F(ImageIndexTest, IsReadAsItWasWrittenAndNotOtherwise) {
  std::ofstream(train() / "cat/0.jpg") << "no image";
  const ImageIndex index = ScanImageFolder(train());
  ASSERT_THAT(index.damaged, SizeIs(1));
  const std::string bytes = ToBytes(index);
  EXPECT_EQ(FromBytes(bytes), index);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(FromBytes(bytes.substr(0, size)), Error) << size;
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string wrong = bytes;
    wrong[at] = static_cast<char>(wrong[at] ^ 0x20);
    EXPECT_THROW(FromBytes(wrong), Error) << at;
  }
}

TEST_F(ImageIndexTest, HoldsUntilAFolderChanges) {
  EXPECT_FALSE(IsCurrent(ScanImageFolder(train()), train())) << "written a moment ago";
  Settle();
  const ImageIndex index = ScanImageFolder(train());
  EXPECT_TRUE(IsCurrent(index, train()));
  EXPECT_FALSE(IsCurrent(ImageIndex(), train()));
  for (const char* change : {"cat/2.png", "new/1.png"}) {
    Add(change);
    EXPECT_FALSE(IsCurrent(index, train())) << change;
    Settle();
    fs::remove_all(change[0] == 'n' ? train() / "new" : train() / change);
  }
}

TEST_F(ImageIndexTest, IsKeptBesideTheFolderAndUsedAgain) {
  Settle();
  const ImageIndex first = IndexOf(train());
  const fs::path file = folder_.path() / ".train.syncbn-index";
  ASSERT_TRUE(fs::exists(file));
  EXPECT_EQ(FromBytes(ReadFile(file)), first);
  EXPECT_EQ(IndexOf(train()), first) << "also the time of the scan: there was no other";
  EXPECT_EQ(IndexOf(folder_.path() / "./train/"), first);
  // What is damaged in it is made anew.
  std::ofstream(file) << "syncbn images 1\nsomething";
  EXPECT_EQ(NamesOf(IndexOf(train())), NamesOf(first));
  EXPECT_NO_THROW(FromBytes(ReadFile(file)));
}

TEST_F(ImageIndexTest, LiesInTheCacheWhereTheDataCannotBeWrittenBeside) {
  Settle();
  // Even root cannot put a file in the place of a folder that is not empty.
  fs::create_directories(folder_.path() / ".train.syncbn-index/full");
  const ImageIndex first = IndexOf(train());
  const std::vector<fs::path> places = IndexFiles(fs::canonical(train()));
  ASSERT_THAT(places, SizeIs(2));
  EXPECT_TRUE(places[1].string().starts_with((folder_.path() / "cache/syncbn").string()));
  EXPECT_EQ(FromBytes(ReadFile(places[1])), first);
  EXPECT_EQ(IndexOf(train()), first);
}

TEST_F(ImageIndexTest, OnlyNewAndChangedFilesAreLookedAtAgain) {
  Settle();
  const ImageIndex first = ScanImageFolder(train());
  // What is known is not read: else it would have its own fingerprint.
  ImageIndex known = first;
  for (IndexedImage& image : known.images) image.fingerprint = 7;
  Add("dog/2.png");
  const ImageIndex second = ScanImageFolder(train(), known);
  EXPECT_THAT(NamesOf(second), ElementsAre("cat/1.png", "dog/1.png", "dog/2.png"));
  EXPECT_EQ(second.images[0].fingerprint, 7U);
  EXPECT_EQ(second.images[1].fingerprint, 7U);
  EXPECT_NE(second.images[2].fingerprint, 7U);
  EXPECT_THAT(second.damaged, IsEmpty());
  // Unless it may have been written again within the tick of its first look.
  known.begun = known.images[0].modified + 1'999'999'999;
  EXPECT_EQ(ScanImageFolder(train(), known).images[0].fingerprint, first.images[0].fingerprint);
  // Other bytes of the same size under the old time are read: they cannot have the old change.
  const fs::path cat = train() / "cat/1.png";
  const auto time = fs::last_write_time(cat);
  std::string bytes = ReadFile(cat);
  const std::string whole = bytes;
  std::fill(bytes.begin() + 40, bytes.end(), 'x');
  std::ofstream(cat, std::ios::binary) << bytes;
  fs::last_write_time(cat, time);
  const ImageIndex third = ScanImageFolder(train(), second);
  EXPECT_NE(third.images[0].fingerprint, first.images[0].fingerprint);
  ASSERT_THAT(third.damaged, SizeIs(1));
  // What is damaged is looked at every time.
  std::ofstream(cat, std::ios::binary) << whole;
  Touch(cat, std::chrono::seconds(5));
  EXPECT_THAT(ScanImageFolder(train(), third).damaged, IsEmpty());
}

TEST_F(ImageIndexTest, AFileThatIsMendedInItsPlaceIsFoundWhole) {
  const fs::path cat = train() / "cat/1.png";
  const std::string whole = ReadFile(cat);
  std::ofstream(cat, std::ios::binary) << whole.substr(0, whole.size() / 2);
  Settle();
  ASSERT_THAT(IndexOf(train()).damaged, SizeIs(1));
  const auto folder = fs::last_write_time(train() / "cat");
  std::ofstream(cat, std::ios::binary) << whole;
  ASSERT_EQ(fs::last_write_time(train() / "cat"), folder) << "no folder tells of it";
  EXPECT_THAT(IndexOf(train()).damaged, IsEmpty());
}

// rsync --inplace, cp over: of that no folder tells.
TEST_F(ImageIndexTest, FilesThatAreWrittenAgainInTheirPlacesAreFound) {
  for (int i = 0; i < 1000; ++i) Add("cat/deep/" + std::to_string(i) + ".png", 5);
  Settle();
  const ImageIndex first = IndexOf(train());
  ASSERT_EQ(IndexOf(train()), first);
  const fs::path last = train() / "cat/deep/999.png";
  const auto folder = fs::last_write_time(last.parent_path());
  const std::string before = ReadFile(last);
  const auto fingerprint = [&](const ImageIndex& index) {
    return std::ranges::find_if(
               index.images,
               [&](const IndexedImage& image) { return index.Name(image) == "cat/deep/999.png"; })
        ->fingerprint;
  };
  Add("cat/deep/999.png", 90);
  ASSERT_NE(ReadFile(last), before);
  ASSERT_EQ(fs::last_write_time(last.parent_path()), folder);
  EXPECT_FALSE(IsCurrent(first, train()));
  const ImageIndex second = IndexOf(train());
  EXPECT_NE(fingerprint(second), fingerprint(first));
  // Cut off: it is damaged from then on.
  std::ofstream(last, std::ios::trunc).close();
  const ImageIndex third = IndexOf(train());
  ASSERT_THAT(third.damaged, SizeIs(1));
  EXPECT_THAT(third.damaged[0].what, HasSubstr("it is empty"));
  Settle();
  EXPECT_THAT(IndexOf(train()).damaged, SizeIs(1));
  // And gone, though what it lies in looks the same.
  const ImageIndex fourth = ScanImageFolder(train());
  ASSERT_TRUE(IsCurrent(fourth, train()));
  const auto time = fs::last_write_time(last.parent_path());
  fs::remove(last);
  fs::last_write_time(last.parent_path(), time);
  EXPECT_FALSE(IsCurrent(fourth, train()));
}

TEST_F(ImageIndexTest, AFileThatWasWrittenJustBeforeItWasLookedAtIsLookedAtAgain) {
  Settle();
  ASSERT_TRUE(IsCurrent(ScanImageFolder(train()), train()));
  Touch(train() / "cat/1.png", std::chrono::seconds(0));
  const ImageIndex index = ScanImageFolder(train());
  EXPECT_FALSE(IsCurrent(index, train())) << "it may have been written again within the same tick";
  // A time of the future is as good as another: that of the file's last change tells more.
  Touch(train() / "cat/1.png", std::chrono::seconds(-3600));
  ImageIndex later = ScanImageFolder(train());
  later.begun += 3'000'000'000;
  EXPECT_TRUE(IsCurrent(later, train()));
}

// By one that was killed before it could remove it, or by anybody.
TEST_F(ImageIndexTest, WhatALockSaysThatNobodyHoldsIsNotBelieved) {
  Settle();
  const ImageIndex first = IndexOf(train());
  Add("cat/2.png");
  const fs::path lock = folder_.path() / ".train.syncbn-index.lock";
  std::ofstream(lock) << first.begun << "\n";
  EXPECT_THAT(IndexOf(train()).images, SizeIs(3));
  EXPECT_FALSE(fs::exists(lock));
  // Nor is a file written to that is another one by another name.
  std::ofstream(folder_.path() / "precious").close();
  fs::create_hard_link(folder_.path() / "precious", lock);
  IndexOf(train());
  EXPECT_EQ(ReadFile(folder_.path() / "precious"), "");
  EXPECT_FALSE(fs::exists(lock));
}

TEST_F(ImageIndexTest, SeveralWhoAskAtOnceGetTheSame) {
  for (int i = 0; i < 600; ++i) Add("cat/" + std::to_string(i) + ".png", i);
  Settle();
  constexpr size_t kThreads = 4;
  std::vector<ImageIndex> got(kThreads);
  {
    std::vector<std::jthread> threads;
    for (ImageIndex& index : got) threads.emplace_back([&] { index = IndexOf(train()); });
  }
  EXPECT_THAT(got[0].images, SizeIs(601));
  // One has scanned: the others have the time of its scan.
  for (const ImageIndex& index : got) EXPECT_EQ(index, got[0]);
}

TEST_F(ImageIndexTest, AFolderThatIsNotThereIsTold) {
  EXPECT_THROW(ScanImageFolder(folder_.path() / "none"), Error);
}

}  // namespace
}  // namespace syncbn::data
