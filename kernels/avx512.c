/* The kernels for AVX-512: F, BW, DQ, VL. No fused multiply-adds: they would round once where ggml rounds twice. */
#if defined(__x86_64__)

#include <immintrin.h>

#define VECTOR_AVX512
#define NAME(kernels) llmasos_avx512_##kernels

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,f16c"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,f16c")
#endif

#include "vector.h"

#include "quantize_body.h"
#include "rows_body.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#endif
