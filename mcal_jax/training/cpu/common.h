// What the convolutions share: vectors of images, memory of a thread, and work that threads divide.
//
// Activations are float32 [channels, height, width, batch] with a batch of a multiple of 16; kernels [3, 3, in, out]
// with out a multiple of 4. S is a stride. The batch is innermost, so that a vector holds a pixel of 8 or 16 images and
// a kernel's weight is the same for all of them. What a task reads is copied side by side first: it stays in the cache,
// where rows that lie a power of two apart would push each other out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#if defined(__x86_64__) && !defined(__AVX__)
#error "this processor has no AVX: matrix products are faster"
#endif

namespace mcal {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;  // images in a vector
#else
constexpr int64_t kLanes = 8;
#endif
constexpr int64_t kBatch = 16;  // what a batch must be a multiple of
constexpr int kOut = 4;         // output channels at once
constexpr int64_t kTasks = 6;   // into which a gradient is split at least, where it can

typedef float Vec __attribute__((vector_size(sizeof(float) * kLanes)));
typedef float Four __attribute__((vector_size(16)));
typedef Vec AnyVec __attribute__((aligned(4), may_alias));  // at any address, of floats

inline Vec load(const float* p) { return *reinterpret_cast<const AnyVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<AnyVec*>(p) = v; }

inline float total(Vec v) {
  Four quarters[kLanes / 4];
  std::memcpy(quarters, &v, sizeof v);
  for (int64_t step = kLanes / 8; step; step /= 2)
    for (int64_t i = 0; i < step; ++i) quarters[i] += quarters[i + step];
  return (quarters[0][0] + quarters[0][1]) + (quarters[0][2] + quarters[0][3]);
}

// Keeps a value in a register, where GCC would rather load it anew for each product.
#if defined(__AVX512F__)
#define KEEP(v) asm("" : "+v"(v))
#elif defined(__AVX__)
#define KEEP(v) asm("" : "+x"(v))
#else
#define KEEP(v)
#endif

inline int64_t over(int64_t a, int64_t b) { return (a + b - 1) / b; }

// do_one(0) ... do_one(count - 1), by as many threads as there are.
using Parallel = std::function<void(int64_t count, const std::function<void(int64_t)>& do_one)>;

// Channels of an image or of a gradient like it, [channels, height, width, batch].
struct Planes {
  int64_t channels, height, width, batch;
  int64_t groups() const { return batch / kLanes; }
  int64_t line() const { return width * kLanes; }
  int64_t size() const { return height * width * batch; }
};

// Memory of a thread, kept from call to call; a vector in it never crosses a line of the cache.
class Scratch {
 public:
  float* get(int64_t floats) {
    const int64_t bytes = over(floats * sizeof(float), 64) * 64;
    if (bytes > size_) {
      memory_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      size_ = bytes;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> memory_;
  int64_t size_ = 0;
};

// A kernel as a convolution reads it: the weight in row i, column l of input channel c and output channel o.
struct Kernel {
  int64_t in, out;
  const float* first;
  int64_t row, column, input, output;  // floats from one to the next
  float operator()(int64_t i, int64_t l, int64_t c, int64_t o) const {
    return first[i * row + l * column + c * input + o * output];
  }
};

// [3, 3, in, out].
inline Kernel plain(const float* weights, int64_t in, int64_t out) {
  return {in, out, weights, 3 * in * out, in * out, out, 1};
}

// [3, 3, out, in], of the convolution of stride 1 whose gradient by its input is asked for: turned by 180 degrees.
inline Kernel turned(const float* weights, int64_t in, int64_t out) {
  return {in, out, weights + 8 * in * out, -3 * in * out, -in * out, 1, in};
}

// arrange(block) for each block of four output channels; a thread would come too late for few weights.
template <typename F>
void each_block(const Parallel& parallel, int64_t in, int64_t out, const F& arrange) {
  if (in * out < 1024)
    for (int64_t block = 0; block < out / kOut; ++block) arrange(block);
  else
    parallel(out / kOut, arrange);
}

// Rows [top, bottom) of `count` groups of images from `group` on.
struct Chunk {
  int64_t group, count, top, bottom;
};

// A sum over all pixels of y in chunks of about `positions` vectors, of which a row has `across`. How it is cut depends
// on the shape alone, so the sum does not depend on the number of threads.
struct Cut {
  int64_t height, all_groups, rows, bands, groups, chunks;
  Cut(const Planes& y, int64_t across, int64_t positions)
      : height(y.height),
        all_groups(y.groups()),
        rows(std::min(height, over(positions, across))),
        bands(over(height, rows)),
        groups(std::min(all_groups, over(positions, rows * across))),
        chunks(bands * over(all_groups, groups)) {}
  Chunk operator[](int64_t chunk) const {
    const int64_t group = chunk / bands * groups, top = chunk % bands * rows;
    return {group, std::min(groups, all_groups - group), top, std::min(top + rows, height)};
  }
};

inline Vec relu_of(Vec v) { return v > Vec{} ? v : Vec{}; }

}  // namespace mcal
