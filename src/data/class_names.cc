#include "data/class_names.h"

#include <span>
#include <string_view>

#include "base/unknown_value.h"
#include "data/dataset.h"
#include "syncbn/v1/data.pb.h"

namespace syncbn::data {
namespace {

// In the order of the labels, as their publishers have them (batches.meta.txt,
// fine_label_names.txt).
constexpr std::string_view kShapes[] = {"disc", "square",   "triangle", "star", "cross",
                                        "ring", "crescent", "frame",    "L",    "heart"};
constexpr std::string_view kFashion[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                         "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                         "Bag",         "Ankle boot"};
constexpr std::string_view kCifar10[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                         "dog",      "frog",       "horse", "ship", "truck"};
constexpr std::string_view kCifar100[] = {
    "apple",       "aquarium_fish", "baby",      "bear",       "beaver",       "bed",
    "bee",         "beetle",        "bicycle",   "bottle",     "bowl",         "boy",
    "bridge",      "bus",           "butterfly", "camel",      "can",          "castle",
    "caterpillar", "cattle",        "chair",     "chimpanzee", "clock",        "cloud",
    "cockroach",   "couch",         "crab",      "crocodile",  "cup",          "dinosaur",
    "dolphin",     "elephant",      "flatfish",  "forest",     "fox",          "girl",
    "hamster",     "house",         "kangaroo",  "keyboard",   "lamp",         "lawn_mower",
    "leopard",     "lion",          "lizard",    "lobster",    "man",          "maple_tree",
    "motorcycle",  "mountain",      "mouse",     "mushroom",   "oak_tree",     "orange",
    "orchid",      "otter",         "palm_tree", "pear",       "pickup_truck", "pine_tree",
    "plain",       "plate",         "poppy",     "porcupine",  "possum",       "rabbit",
    "raccoon",     "ray",           "road",      "rocket",     "rose",         "sea",
    "seal",        "shark",         "shrew",     "skunk",      "skyscraper",   "snail",
    "snake",       "spider",        "squirrel",  "streetcar",  "sunflower",    "sweet_pepper",
    "table",       "tank",          "telephone", "television", "tiger",        "tractor",
    "train",       "trout",         "tulip",     "turtle",     "wardrobe",     "whale",
    "willow_tree", "wolf",          "woman",     "worm"};
static_assert(std::size(kCifar100) == 100);

std::span<const std::string_view> KnownNames(v1::Dataset dataset) {
  switch (dataset) {
    case v1::DATASET_SHAPES:
      return kShapes;
    case v1::DATASET_FASHION_MNIST:
      return kFashion;
    case v1::DATASET_CIFAR10:
      return kCifar10;
    case v1::DATASET_CIFAR100:
      return kCifar100;
    case v1::DATASET_UNSPECIFIED:
    case v1::DATASET_MNIST:  // its classes are numbers
    case v1::DATASET_IDX:
    case v1::DATASET_CIFAR_BINARY:
    case v1::DATASET_IMAGE_FOLDER:  // its folders' names
      return {};
    default:
      ThrowUnknownValue("data.dataset", static_cast<int>(dataset));
  }
}

}  // namespace

std::vector<std::string> ClassNames(const v1::DataSpec& spec, const Dataset& dataset) {
  if (!dataset.class_names().empty()) return dataset.class_names();
  const int classes = dataset.classes();
  const std::span<const std::string_view> known = KnownNames(spec.dataset());
  if (known.size() == static_cast<size_t>(classes)) return {known.begin(), known.end()};
  std::vector<std::string> numbers;
  for (int label = 0; label < classes; ++label) numbers.push_back(std::to_string(label));
  return numbers;
}

}  // namespace syncbn::data
