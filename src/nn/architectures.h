// The architectures, each written on an empty chain that starts at the images and ends in the
// logits.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/builder.h"

namespace syncbn::nn {

// VGG (Simonyan and Zisserman 2015) as torchvision numbers it: `features.N` of vgg11 without a
// norm, of vgg11_bn with one. Of images of 224 pixels on, whose features are 7 x 7 or are pooled to
// that as by torchvision's adaptive pool (of a multiple of 224 pixels and up to 63 more; other
// sizes are INVALID_ARGUMENT), it has torchvision's three linear layers, `classifier.0`, `.3` and
// `.6`, with dropout before the last two. Of small ones a maximum pool is left out (its number
// stays) where height or width is 1 already, and one linear layer, `classifier`, follows the mean
// over what is left, as is usual for CIFAR-10. A stage is a list of the output channels of its
// convolutions.
void AddVgg(Chain& chain, const std::vector<std::vector<int64_t>>& stages, int64_t classes);

// The ResNets for CIFAR-10 (He et al. 2015, section 4.2): depth 6n + 2, 16, 32 and 64 channels.
// Where the shape changes the shortcut is a projection (`downsample`, option B; the paper takes A),
// so that the names are torchvision's and every shortcut is learned by the same rule.
void AddCifarResNet(Chain& chain, int64_t depth, int64_t classes);

enum class BlockKind { kBasic, kBottleneck };

// torchvision's ResNets; stride 2 is in the 3 x 3 convolution of a bottleneck, as there. Images
// under 64 pixels get a 3 x 3 stem without a pool instead of 7 x 7 / 2 and a 3 x 3 / 2 pool, as is
// usual for CIFAR-10.
void AddResNet(Chain& chain, BlockKind kind, const std::vector<int64_t>& blocks, int64_t classes);

// Two 5 x 5 convolutions of 20 and 50 channels, each normalized, activated and pooled, and 500
// hidden features (LeCun et al. 1998 in Caffe's widths).
void AddLeNet(Chain& chain, int64_t classes);

// Hidden layers fc1, fc2, ..., each normalized (bn1, bn2, ...) and activated, and a last linear
// layer.
void AddMlp(Chain& chain, const std::vector<int64_t>& hidden, int64_t classes);

// A recurrent layer, `rnn` or `lstm`, and a linear layer, `fc`.
void AddRecurrent(Chain& chain, bool lstm, int64_t classes);

// Three convolutions of 3 x 3 with 16, 32 and 64 channels (conv1, bn1, act1, pool1, ...), each
// normalized, activated and max-pooled by 2 while both sides are larger than 1; the mean over what
// is left, and one linear layer.
void AddSmallCnn(Chain& chain, int64_t classes);

// The same with six convolutions in pairs of 8, 16 and 32 channels, with a pool behind each pair.
void AddSmallVgg(Chain& chain, int64_t classes);

// Inception with batch normalization (Ioffe and Szegedy 2015) for images of 28 to 32 pixels: a stem
// of one 3 x 3 convolution and four blocks, with 3 x 3 / 2 maximum pools before the first and the
// second. A block has the branches 1 x 1; 1 x 1, 3 x 3; 1 x 1, 3 x 3, 3 x 3; and mean over 3 x 3, 1
// x 1. Names are those of torchvision's GoogLeNet (inception1.branch2.0.conv).
void AddSmallInception(Chain& chain, int64_t classes);

// The layers of the run file's `layers:`; the name of a layer is its index where it has none.
void AddLayersByHand(Chain& chain);

}  // namespace syncbn::nn
