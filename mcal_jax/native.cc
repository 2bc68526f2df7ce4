// 3x3 convolutions of stride 1, "SAME", and sums over each channel, for CPUs, as XLA custom calls. Activations are
// float32 [channels, height, width, batch] with a batch of a multiple of 16; kernels [3, 3, in, out] with out a
// multiple of 4.
//
// The batch is innermost, so that a vector holds a pixel of 8 or 16 images and a kernel's weight is the same for all
// of them. What a task reads is copied side by side first: it stays in the cache, where rows that lie a power of two
// apart would push each other out. Nothing is padded: products with the zeros around an image, a third of all at 4x4
// pixels, are left out.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

#if defined(__x86_64__) && !defined(__AVX__)
#error "this processor has no AVX: matrix products are faster"
#endif

namespace ffi = xla::ffi;

namespace {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;  // images in a vector
constexpr int kPixels = 4;      // pixels at once; with kOut a sum each, which fills half of the registers
constexpr int kIn = 2;          // input channels at once of a gradient of the kernel
#else
constexpr int64_t kLanes = 8;
constexpr int kPixels = 2;
constexpr int kIn = 1;
#endif
constexpr int64_t kBatch = 16;      // what a batch must be a multiple of
constexpr int kOut = 4;             // output channels at once
constexpr int64_t kRows = 4;        // rows of a task
constexpr int64_t kPositions = 96;  // vectors that a sum of a gradient takes in before its lanes are added up
constexpr int64_t kTasks = 8;       // into which a gradient is split at least, where it can

typedef float Vec __attribute__((vector_size(sizeof(float) * kLanes), aligned(4)));
typedef float Four __attribute__((vector_size(16), aligned(4)));

inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }

float total(Vec v) {
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

struct Shape {
  int64_t in, height, width, batch, out;
  Shape(ffi::Span<const int64_t> x, int64_t channels) : in(x[0]), height(x[1]), width(x[2]), batch(x[3]), out(channels) {}
  bool fits() const { return batch % kBatch == 0 && out % kOut == 0; }
  int64_t groups() const { return batch / kLanes; }
  int64_t line() const { return width * kLanes; }
};

int64_t over(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

// do_one(0) ... do_one(count - 1), on XLA's own threads and this one. Nothing waits for a thread that has not begun.
template <typename F>
void parallel(ffi::ThreadPool pool, int64_t count, const F& do_one) {
  struct Progress {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto progress = std::make_shared<Progress>();
  auto work = [progress, count, &do_one] {
    for (int64_t i; (i = progress->next++) < count;) {
      do_one(i);
      progress->done++;
    }
  };
  for (int64_t helper = 1; helper < std::min(pool.num_threads(), count); ++helper) pool.Schedule(decltype(work)(work));
  work();
  while (progress->done < count) std::this_thread::yield();
}

// Rows [first, last) of sixteen or eight images from `image` on, pixel after pixel.
void copy_rows(const float* channel, const Shape& s, int64_t image, int64_t first, int64_t last, float* to) {
  const float* from = channel + first * s.width * s.batch + image;
  for (int64_t left = (last - first) * s.width; left; --left, from += s.batch, to += kLanes) store(to, load(from));
}

// Sums of P neighbouring pixels of four output channels. `x` is the first pixel in its first row of the first input
// channel, `weights` [rows][in][3][4]. kLeft, kRight: there is nothing to the left of the first pixel, to the right
// of the last.
template <int P, bool kLeft, bool kRight>
void pixels(const float* x, const Shape& s, int64_t rows, int64_t channel, const float* weights, float* to) {
  Vec sum[kOut][P] = {};
  for (int64_t i = 0; i < rows; ++i, x += s.line()) {
    const float* at = x;
    for (int64_t c = 0; c < s.in; ++c, at += channel, weights += 3 * kOut) {
      Vec v[P + 2];
#pragma GCC unroll 6
      for (int q = kLeft; q < P + 2 - kRight; ++q) {
        v[q] = load(at + (q - 1) * kLanes);
        KEEP(v[q]);
      }
#pragma GCC unroll 3
      for (int l = 0; l < 3; ++l)
#pragma GCC unroll 4
        for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 4
          for (int p = 0; p < P; ++p)
            if (!(kLeft && p + l == 0) && !(kRight && p + l == P + 1)) sum[o][p] += weights[l * kOut + o] * v[p + l];
    }
  }
  for (int o = 0; o < kOut; ++o)
    for (int p = 0; p < P; ++p) store(to + (o * s.height * s.width + p) * s.batch, sum[o][p]);
}

typedef void (*Pixels)(const float*, const Shape&, int64_t, int64_t, const float*, float*);

template <int P>
Pixels pixels_of(int count, bool left, bool right) {
  if constexpr (P > 1)
    if (count < P) return pixels_of<P - 1>(count, left, right);
  return left ? (right ? pixels<P, true, true> : pixels<P, true, false>)
              : (right ? pixels<P, false, true> : pixels<P, false, false>);
}

// y[out] = sum over in of x * kernel; with `turned`, the kernel is that of the convolution whose gradient x is:
// [3, 3, out, in], turned by 180 degrees.
ffi::Error Conv(ffi::ThreadPool pool, bool turned, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::F32> kernel,
                ffi::ResultBuffer<ffi::F32> y) {
  const Shape s(x.dimensions(), y->dimensions()[0]);
  if (!s.fits()) return ffi::Error::InvalidArgument("mcal_jax convolution: batch or output channels do not fit");
  const float *from = x.typed_data(), *k = kernel.typed_data();
  float* to = y->typed_data();

  thread_local Scratch for_weights;
  float* const weights = for_weights.get(9 * s.in * s.out);  // [out / 4][3][in][3][4]
  const auto place = [&](int64_t o, int64_t c, int64_t tap) {
    return weights + ((((o / kOut * 3 + tap / 3) * s.in + c) * 3 + tap % 3) * kOut);
  };
  for (int64_t tap = 0; tap < 9; ++tap)
    if (turned)
      for (int64_t o = 0; o < s.out; ++o)
        for (int64_t c = 0; c < s.in; ++c) place(o, c, tap)[o % kOut] = k[((8 - tap) * s.out + o) * s.in + c];
    else
      for (int64_t c = 0; c < s.in; ++c)
        for (int64_t o = 0; o < s.out; o += kOut)
          std::memcpy(place(o, c, tap), k + (tap * s.in + c) * s.out + o, kOut * sizeof(float));

  const int64_t blocks = over(s.width, kPixels);
  std::vector<Pixels> do_block;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t count = s.width * (b + 1) / blocks - s.width * b / blocks;
    do_block.push_back(pixels_of<kPixels>(count, b == 0, b == blocks - 1));
  }
  parallel(pool, over(s.height, kRows) * s.groups(), [&](int64_t task) {
    const int64_t image = task % s.groups() * kLanes, top = task / s.groups() * kRows;
    const int64_t bottom = std::min(top + kRows, s.height);
    const int64_t first = std::max<int64_t>(top - 1, 0), last = std::min(bottom + 1, s.height);
    const int64_t channel = (last - first) * s.line() + kLanes;  // not a power of two
    thread_local Scratch for_rows;
    float* const rows = for_rows.get(s.in * channel);
    for (int64_t c = 0; c < s.in; ++c)
      copy_rows(from + c * s.height * s.width * s.batch, s, image, first, last, rows + c * channel);
    for (int64_t r = top; r < bottom; ++r) {
      const int64_t above = std::max<int64_t>(r - 1, 0), below = std::min(r + 1 + 1, s.height);
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t j = s.width * b / blocks;
        for (int64_t o = 0; o < s.out; o += kOut)
          do_block[b](rows + (above - first) * s.line() + j * kLanes, s, below - above, channel,
                      place(o, 0, 3 * (above - r + 1)), to + ((o * s.height + r) * s.width + j) * s.batch + image);
      }
    }
  });
  return ffi::Error::Success();
}

// What one pixel adds to the gradients of C input channels, four output channels and the three weights of a row.
template <int C, bool kLeft, bool kRight>
inline void add_pixel(const float* x, int64_t x_channel, const float* g, int64_t g_channel, Vec (&sum)[C][kOut][3]) {
  Vec v[C][3];
#pragma GCC unroll 6
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 3
    for (int l = kLeft; l < 3 - kRight; ++l) {
      v[c][l] = load(x + c * x_channel + (l - 1) * kLanes);
      KEEP(v[c][l]);
    }
#pragma GCC unroll 4
  for (int o = 0; o < kOut; ++o) {
    Vec by = load(g + o * g_channel);
    KEEP(by);
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c)
#pragma GCC unroll 3
      for (int l = kLeft; l < 3 - kRight; ++l) sum[c][o][l] += by * v[c][l];
  }
}

// Some rows of some images, side by side: [channels][groups][rows][width][kLanes].
struct Part {
  const float* start;
  int64_t channel, group;  // floats from one to the next
};

// Gradients of C input channels and four output channels over the rows of a part: [3 (of the kernel's row)] each,
// at to[(l * in + c) * out + o]. `x` and `g` start at the rows that meet.
template <int C>
void gradients(Part x, Part g, const Shape& s, int64_t groups, int64_t rows, float* to) {
  Vec sum[C][kOut][3] = {};
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t r = 0; r < rows; ++r) {
      const float *from = x.start + group * x.group + r * s.line(), *by = g.start + group * g.group + r * s.line();
      if (s.width == 1) {
        add_pixel<C, true, true>(from, x.channel, by, g.channel, sum);
        continue;
      }
      const int64_t end = s.line() - kLanes;
      add_pixel<C, true, false>(from, x.channel, by, g.channel, sum);
      for (int64_t j = kLanes; j < end; j += kLanes)
        add_pixel<C, false, false>(from + j, x.channel, by + j, g.channel, sum);
      add_pixel<C, false, true>(from + end, x.channel, by + end, g.channel, sum);
    }
  for (int l = 0; l < 3; ++l)
    for (int c = 0; c < C; ++c)
      for (int o = 0; o < kOut; ++o) to[(l * s.in + c) * s.out + o] = total(sum[c][o][l]);
}

// A gradient is a sum over chunks, each some rows of some groups of images; a task is some input channels of a chunk.
// How it is cut depends on the shape alone, so the sum does not depend on the number of threads.
ffi::Error KernelGradient(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::F32> gradient,
                          ffi::ResultBuffer<ffi::F32> of_kernel) {
  const Shape s(x.dimensions(), gradient.dimensions()[0]);
  if (!s.fits()) return ffi::Error::InvalidArgument("mcal_jax gradient: batch or output channels do not fit");
  const float *from = x.typed_data(), *of_y = gradient.typed_data();
  const int64_t plane = s.height * s.width * s.batch, size = 9 * s.in * s.out;
  const int64_t rows = std::min(s.height, over(kPositions, s.width)), bands = over(s.height, rows);
  const int64_t groups = std::min(s.groups(), over(kPositions, rows * s.width));
  const int64_t chunks = bands * over(s.groups(), groups);
  const int64_t parts = std::min(over(kTasks, chunks), over(s.in, kIn)), each = over(over(s.in, parts), kIn) * kIn;

  thread_local Scratch for_sums;
  float* const sums = chunks > 1 ? for_sums.get(chunks * size) : of_kernel->typed_data();
  parallel(pool, chunks * parts, [&](int64_t task) {
    const int64_t chunk = task / parts, in_first = task % parts * each;
    const int64_t in_last = std::min(in_first + each, s.in);
    if (in_first >= in_last) return;
    const int64_t group = chunk / bands * groups, count = std::min(groups, s.groups() - group);
    const int64_t top = chunk % bands * rows, bottom = std::min(top + rows, s.height);
    const int64_t first = std::max<int64_t>(top - 1, 0), last = std::min(bottom + 1, s.height);
    thread_local Scratch for_part;
    const int64_t x_group = (last - first) * s.line(), g_group = (bottom - top) * s.line();
    const int64_t x_channel = count * x_group + kLanes, g_channel = count * g_group + kLanes;
    float* const own_x = for_part.get((in_last - in_first) * x_channel + s.out * g_channel);
    float* const own_g = own_x + (in_last - in_first) * x_channel;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t image = (group + i) * kLanes;
      for (int64_t c = in_first; c < in_last; ++c)
        copy_rows(from + c * plane, s, image, first, last, own_x + (c - in_first) * x_channel + i * x_group);
      for (int64_t o = 0; o < s.out; ++o)
        copy_rows(of_y + o * plane, s, image, top, bottom, own_g + o * g_channel + i * g_group);
    }
    for (int64_t i = 0; i < 3; ++i) {
      // Rows of the gradient that have one of the image `i - 1` rows below them.
      const int64_t above = std::max(top, 1 - i), below = std::min(bottom, s.height + 1 - i);
      for (int64_t o = 0; o < s.out; o += kOut)
        for (int64_t c = in_first; c < in_last;) {
          const Part of_x{own_x + (c - in_first) * x_channel + (above + i - 1 - first) * s.line(), x_channel,
                          x_group};
          const Part of_g{own_g + o * g_channel + (above - top) * s.line(), g_channel, g_group};
          const bool one = in_last - c < kIn;
          float* const to = sums + chunk * size + (3 * i * s.in + c) * s.out + o;
          (one ? gradients<1> : gradients<kIn>)(of_x, of_g, s, count, below - above, to);
          c += one ? 1 : kIn;
        }
    }
  });
  if (chunks > 1)
    for (int64_t i = 0; i < size; ++i) {
      float sum = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += sums[chunk * size + i];
      of_kernel->typed_data()[i] = sum;
    }
  return ffi::Error::Success();
}

// Sums of a and of a * b over all but the first axis: [2, channels].
ffi::Error Sums(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> a, ffi::Buffer<ffi::F32> b,
                ffi::ResultBuffer<ffi::F32> sums) {
  const int64_t channels = a.dimensions()[0], plane = a.element_count() / channels;
  if (plane % kBatch) return ffi::Error::InvalidArgument("mcal_jax_sums: the batch does not fit");
  const float *of_a = a.typed_data(), *of_b = b.typed_data();
  float* const to = sums->typed_data();
  parallel(pool, channels, [&](int64_t c) {
    const float *x = of_a + c * plane, *y = of_b + c * plane;
    constexpr int kAtOnce = 4;  // sums of a few thousand numbers each: float32 is enough
    Vec plain[kAtOnce] = {}, by[kAtOnce] = {};
    int64_t i = 0;
    for (; i + kAtOnce * kLanes <= plane; i += kAtOnce * kLanes)
#pragma GCC unroll 4
      for (int u = 0; u < kAtOnce; ++u) {
        const Vec v = load(x + i + u * kLanes);
        plain[u] += v;
        by[u] += v * load(y + i + u * kLanes);
      }
    for (; i < plane; i += kLanes) {
      const Vec v = load(x + i);
      plain[0] += v;
      by[0] += v * load(y + i);
    }
    to[c] = total((plain[0] + plain[1]) + (plain[2] + plain[3]));
    to[channels + c] = total((by[0] + by[1]) + (by[2] + by[3]));
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_conv, Conv,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<bool>("turned")
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_kernel_gradient, KernelGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_sums, Sums,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
