// Convolutions as they are written down, of stride 1 or 2, "SAME". Nothing is padded: products with the zeros around an
// image, a third of all at 4x4 pixels, are left out.

#include "direct.h"

#include <vector>

#include "common.h"

namespace mcal {
namespace {

#if defined(__AVX512F__)
constexpr int kPixels = 4;  // pixels at once; with kOut a sum each, which fills half of the registers
constexpr int kIn = 2;      // input channels at once of a gradient of the kernel
#else
constexpr int kPixels = 2;
constexpr int kIn = 1;
#endif
constexpr int64_t kRows = 4;        // rows of a task
constexpr int64_t kPositions = 96;  // vectors that a sum of a gradient takes in before its lanes are added up

// Zeros before an image, which "SAME" takes to be there: row r of the result reads rows S r - before(...) and on.
int64_t before(int64_t size, int64_t S) { return S == 1 || size % 2; }

// Rows [first, last) of a vector of images from `image` on, pixel after pixel.
void copy_rows(const float* channel, const Planes& s, int64_t image, int64_t first, int64_t last, float* to) {
  const float* from = channel + first * s.width * s.batch + image;
  for (int64_t left = (last - first) * s.width; left; --left, from += s.batch, to += kLanes) store(to, load(from));
}

// Rows [first, last) of all channels side by side, in memory of this thread: [channels][rows][width][kLanes].
struct Window {
  const float* start;
  int64_t channel, line;  // floats from one to the next
};

Window window(const float* from, const Planes& s, int64_t image, int64_t first, int64_t last) {
  thread_local Scratch scratch;
  const int64_t channel = (last - first) * s.line() + kLanes;  // not a power of two
  float* const to = scratch.get(s.channels * channel);
  for (int64_t c = 0; c < s.channels; ++c) copy_rows(from + c * s.size(), s, image, first, last, to + c * channel);
  return {to, channel, s.line()};
}

// Sums of some neighbouring pixels of four output channels over the input channels and `rows` rows of the window, the
// first of them and the first column at `x`. `weights` [rows][in][3][4].
typedef void (*Pixels)(const float* x, const Window& w, int64_t in, int64_t rows, const float* weights,
                       const float* start, bool relu, float* to, const Planes& y);

template <int P>
void put(const Vec (&sum)[kOut][P], int first, int last, bool relu, float* to, const Planes& y) {
  for (int o = 0; o < kOut; ++o)
    for (int p = first; p < last; ++p)
      store(to + o * y.size() + (p - first) * y.batch, relu ? relu_of(sum[o][p]) : sum[o][p]);
}

// A convolution: P pixels. kLeft, kRight: there is nothing to the left of the first one, to the right of the last.
template <int S, int P, bool kLeft, bool kRight>
void pixels(const float* x, const Window& w, int64_t in, int64_t rows, const float* weights, const float* start,
            bool relu, float* to, const Planes& y) {
  constexpr int kColumns = S * (P - 1) + 3;
  Vec sum[kOut][P];
  for (int o = 0; o < kOut; ++o)
    for (int p = 0; p < P; ++p) sum[o][p] = start[o] - Vec{};
  for (int64_t i = 0; i < rows; ++i, x += w.line) {
    const float* at = x;
    for (int64_t c = 0; c < in; ++c, at += w.channel, weights += 3 * kOut) {
      Vec v[kColumns];
#pragma GCC unroll 9
      for (int q = kLeft; q < kColumns - kRight; ++q) {
        v[q] = load(at + q * kLanes);
        KEEP(v[q]);
      }
#pragma GCC unroll 3
      for (int l = 0; l < 3; ++l)
#pragma GCC unroll 4
        for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 4
          for (int p = 0; p < P; ++p) {
            const int q = S * p + l;
            if (!(kLeft && q == 0) && !(kRight && q == kColumns - 1)) sum[o][p] += weights[l * kOut + o] * v[q];
          }
    }
  }
  put<P>(sum, 0, P, relu, to, y);
}

// Its gradient by x for stride 2: columns kFrom to kTo - 1 of kPixels. Counted from the zeros before the image, column
// 2 Q takes pixel Q of the gradient times weight 0 and pixel Q - 1 times weight 2, column 2 Q + 1 pixel Q times weight
// 1. kLeft: there is no pixel Q - 1 for the first column.
template <int kFrom, int kTo, bool kLeft>
void spread(const float* g, const Window& w, int64_t in, int64_t rows, const float* weights, const float* start,
            bool relu, float* to, const Planes& y) {
  Vec sum[kOut][kPixels] = {};
  for (int64_t i = 0; i < rows; ++i, g -= w.line) {
    const float* at = g;
    for (int64_t c = 0; c < in; ++c, at += w.channel, weights += 3 * kOut) {
      Vec v[kPixels / 2 + 1];
#pragma GCC unroll 3
      for (int q = kLeft; q < (kTo + 1) / 2 + 1; ++q) {
        v[q] = load(at + q * kLanes);
        KEEP(v[q]);
      }
#pragma GCC unroll 4
      for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 4
        for (int u = kFrom; u < kTo; ++u) {
          sum[o][u] += weights[u % 2 * kOut + o] * v[u / 2 + 1];
          if (u % 2 == 0 && !(kLeft && u == 0)) sum[o][u] += weights[2 * kOut + o] * v[u / 2];
        }
    }
  }
  put<kPixels>(sum, kFrom, kTo, relu, to, y);
}

template <int S, int P>
Pixels pixels_of(int count, bool left, bool right) {
  if constexpr (P > 1)
    if (count < P) return pixels_of<S, P - 1>(count, left, right);
  if constexpr (S == 1) return pixels<S, P, true, true>;
  return left ? (right ? pixels<S, P, true, true> : pixels<S, P, true, false>)
              : (right ? pixels<S, P, false, true> : pixels<S, P, false, false>);
}

template <int kTo>
Pixels spread_of(int from, int to, bool left) {
  if constexpr (kTo > 1)
    if (to < kTo) return spread_of<kTo - 1>(from, to, left);
  return from ? spread<1, kTo, true> : left ? spread<0, kTo, true> : spread<0, kTo, false>;
}

// Columns of the result that are worked out together, and by what.
struct Block {
  int64_t first, column;  // of the result; of the window, may be -1 where it is not read
  Pixels work;
};

// Weights as `Pixels` reads them, [out / 4][3][in][3][4]; weight(row, column, in, out) finds them.
template <typename F>
const float* arranged(const Parallel& parallel, int64_t in, int64_t out, const F& weight) {
  thread_local Scratch scratch;
  float* const weights = scratch.get(9 * in * out);
  each_block(parallel, in, out, [&](int64_t block) {
    float* to = weights + block * 9 * in * kOut;
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t c = 0; c < in; ++c)
        for (int64_t l = 0; l < 3; ++l)
          for (int64_t e = 0; e < kOut; ++e) *to++ = weight(i, l, c, block * kOut + e);
  });
  return weights;
}

// Rows of x, at least one, that a row of the result takes in, one `step` after another, and the row of weights for the first.
struct Rows {
  int64_t first, count, weight;
};

// All rows of y; reads(r) gives the rows of x that row r takes in.
template <typename F>
void convolve(const Parallel& parallel, const float* from, const Planes& x, float* to, const Planes& y,
              const float* weights, const std::vector<Block>& blocks, const float* start, bool relu, int64_t step,
              const F& reads) {
  parallel(over(y.height, kRows) * y.groups(), [&](int64_t task) {
    const int64_t image = task % y.groups() * kLanes, top = task / y.groups() * kRows;
    const int64_t bottom = std::min(top + kRows, y.height);
    int64_t first = x.height, last = 0;
    for (int64_t r = top; r < bottom; ++r) {
      const Rows rows = reads(r);
      const int64_t end = rows.first + step * (rows.count - 1);
      first = std::min({first, rows.first, end});
      last = std::max({last, rows.first + 1, end + 1});
    }
    const Window w = window(from, x, image, first, last);
    for (int64_t r = top; r < bottom; ++r) {
      const Rows rows = reads(r);
      for (int64_t o = 0; o < y.channels; o += kOut)
        for (const Block& block : blocks)
          block.work(w.start + (rows.first - first) * w.line + block.column * kLanes, w, x.channels, rows.count,
                     weights + (o / kOut * 3 + rows.weight) * x.channels * 3 * kOut, start + o, relu,
                     to + o * y.size() + (r * y.width + block.first) * y.batch + image, y);
    }
  });
}

template <int S>
void conv(const Parallel& parallel, const Kernel& kernel, bool relu, const float* from, const Planes& x,
          const float* bias, float* to, const Planes& y) {
  const int64_t above = before(x.height, S), left = before(x.width, S);
  const float* const weights = arranged(parallel, x.channels, y.channels, kernel);
  std::vector<Block> blocks;
  for (int64_t b = 0, count = over(y.width, kPixels); b < count; ++b) {
    const int64_t first = y.width * b / count, last = y.width * (b + 1) / count;
    blocks.push_back({first, S * first - left, pixels_of<S, S == 1 ? kNarrow : kPixels>(last - first, left && b == 0, b == count - 1)});
  }
  convolve(parallel, from, x, to, y, weights, blocks, bias, relu, 1, [&](int64_t r) {
    const int64_t first = S * r - above, skipped = std::max<int64_t>(-first, 0);
    return Rows{first + skipped, std::min<int64_t>(3, x.height - first) - skipped, skipped};
  });
}

// What one pixel adds to the gradients of C input channels, four output channels and the three weights of a row; `x`
// is its first column.
template <int C, bool kLeft, bool kRight>
inline void add_pixel(const float* x, int64_t x_channel, const float* g, int64_t g_channel, Vec (&sum)[C][kOut][3]) {
  Vec v[C][3];
#pragma GCC unroll 2
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 3
    for (int l = kLeft; l < 3 - kRight; ++l) {
      v[c][l] = load(x + c * x_channel + l * kLanes);
      KEEP(v[c][l]);
    }
#pragma GCC unroll 4
  for (int o = 0; o < kOut; ++o) {
    Vec by = load(g + o * g_channel);
    KEEP(by);
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c)
#pragma GCC unroll 3
      for (int l = kLeft; l < 3 - kRight; ++l) sum[c][o][l] += by * v[c][l];
  }
}

// Some rows of some images, side by side: [channels][groups][rows][width][kLanes].
struct Part {
  const float* start;
  int64_t channel, group, line;  // floats from one to the next
};

// Gradients of C input channels and four output channels over the rows of a part: [3 (of the kernel's row)] each,
// at to[(l * in + c) * out + o]. `x` and `g` start at the rows that meet.
template <int S, int C, bool kLeft>
void gradients(Part x, Part g, int64_t groups, int64_t rows, int64_t in, int64_t out, float* to) {
  Vec sum[C][kOut][3] = {};
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = x.start + group * x.group + r * S * x.line - kLeft * kLanes;
      const float *by = g.start + group * g.group + r * g.line, *last = by + g.line - kLanes;
      if (by == last) {
        add_pixel<C, kLeft, true>(from, x.channel, by, g.channel, sum);
        continue;
      }
      add_pixel<C, kLeft, false>(from, x.channel, by, g.channel, sum);
      for (by += kLanes, from += S * kLanes; by < last; by += kLanes, from += S * kLanes)
        add_pixel<C, false, false>(from, x.channel, by, g.channel, sum);
      add_pixel<C, false, true>(from, x.channel, by, g.channel, sum);
    }
  for (int l = 0; l < 3; ++l)
    for (int c = 0; c < C; ++c)
      for (int o = 0; o < kOut; ++o) to[(l * in + c) * out + o] = total(sum[c][o][l]);
}

// The gradient by the kernel is a sum over chunks; a task is some input channels of one.
template <int S>
void kernel_gradient(const Parallel& parallel, const float* from, const Planes& x, const float* gradient, const Planes& y,
                     float* of_kernel) {
  const int64_t in = x.channels, out = y.channels, size = 9 * in * out;
  const int64_t above = before(x.height, S);
  const bool left = before(x.width, S);
  const Cut cut(y, y.width, kPositions);
  const int64_t chunks = cut.chunks;
  const int64_t parts = std::min(over(kTasks, chunks), over(in, kIn)), each = over(over(in, parts), kIn) * kIn;

  thread_local Scratch for_sums;
  float* const sums = chunks > 1 ? for_sums.get(chunks * size) : of_kernel;
  parallel(chunks * parts, [&](int64_t task) {
    const int64_t chunk = task / parts, in_first = task % parts * each, in_last = std::min(in_first + each, in);
    if (in_first >= in_last) return;
    const auto [group, count, top, bottom] = cut[chunk];
    const int64_t first = std::max<int64_t>(S * top - above, 0);
    const int64_t last = std::min(S * (bottom - 1) - above + 3, x.height);
    thread_local Scratch for_part;
    const int64_t x_group = (last - first) * x.line(), y_group = (bottom - top) * y.line();
    const int64_t x_channel = count * x_group + kLanes, y_channel = count * y_group + kLanes;
    float* const own_x = for_part.get((in_last - in_first) * x_channel + out * y_channel);
    float* const own_g = own_x + (in_last - in_first) * x_channel;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t image = (group + i) * kLanes;
      for (int64_t c = in_first; c < in_last; ++c)
        copy_rows(from + c * x.size(), x, image, first, last, own_x + (c - in_first) * x_channel + i * x_group);
      for (int64_t o = 0; o < out; ++o)
        copy_rows(gradient + o * y.size(), y, image, top, bottom, own_g + o * y_channel + i * y_group);
    }
    for (int64_t i = 0; i < 3; ++i) {
      // Rows of the result that read a row of the image by row i of the kernel.
      const int64_t begin = std::max<int64_t>(top, above > i), end = std::min(bottom, over(x.height + above - i, S));
      for (int64_t o = 0; o < out; o += kOut)
        for (int64_t c = in_first; c < in_last;) {
          const Part of_x{own_x + (c - in_first) * x_channel + (S * begin + i - above - first) * x.line(), x_channel,
                          x_group, x.line()};
          const Part of_y{own_g + o * y_channel + (begin - top) * y.line(), y_channel, y_group, y.line()};
          const bool one = in_last - c < kIn;
          const auto work = left ? (one ? gradients<S, 1, true> : gradients<S, kIn, true>)
                                 : (one ? gradients<S, 1, false> : gradients<S, kIn, false>);
          work(of_x, of_y, count, end - begin, in, out, sums + chunk * size + (3 * i * in + c) * out + o);
          c += one ? 1 : kIn;
        }
    }
  });
  if (chunks > 1)
    for (int64_t i = 0; i < size; ++i) {
      float sum = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += sums[chunk * size + i];
      of_kernel[i] = sum;
    }
}

}  // namespace

void direct_conv(const Parallel& parallel, int64_t stride, const Kernel& kernel, bool relu, const float* from,
                 const Planes& x, const float* bias, float* to, const Planes& y) {
  (stride == 1 ? conv<1> : conv<2>)(parallel, kernel, relu, from, x, bias, to, y);
}

void direct_spread(const Parallel& parallel, const float* gradient, const Planes& y, const float* kernel, float* to,
                   const Planes& x) {
  const int64_t in = x.channels, out = y.channels, above = before(x.height, 2), left = before(x.width, 2);
  const float* const k = kernel;
  // Rows of the kernel in the order 0, 2, 1: an even row of x takes the first two of them, an odd one the last.
  const float* const weights = arranged(parallel, out, in, [&](auto i, auto l, auto d, auto c) {
    return k[(((3 - i) % 3 * 3 + l) * in + c) * out + d];
  });
  std::vector<Block> blocks;
  for (int64_t u = 0; u < left + x.width; u += kPixels) {
    const int64_t from = u ? 0 : left, to = std::min<int64_t>(kPixels, left + x.width - u);
    if (from < to) blocks.push_back({u + from - left, u / 2 - 1, spread_of<kPixels>(from, to, u == 0)});
  }
  const float none[kOut] = {};
  convolve(parallel, gradient, y, to, x, weights, blocks, none, false, -1, [&](int64_t r) {
    const int64_t middle = (r + above) / 2;
    return (r + above) % 2 ? Rows{middle, 1, 2} : Rows{middle, middle > 0 ? 2 : 1, 0};
  });
}

void direct_kernel_gradient(const Parallel& parallel, int64_t stride, const float* from, const Planes& x,
                            const float* gradient, const Planes& y, float* of_kernel) {
  (stride == 1 ? kernel_gradient<1> : kernel_gradient<2>)(parallel, from, x, gradient, y, of_kernel);
}

}  // namespace mcal
