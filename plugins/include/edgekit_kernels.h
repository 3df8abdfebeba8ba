/* The C ABI of edgekit's kernels: the same in libedgekit_plugins.so (CUDA) and libedgekit_emu.so (a CPU, for tests).
 *
 * An operator is a struct of plain fields and three functions: _supported says whether a device can run it, _workspace
 * how many bytes the caller has to bring, _launch enqueues on a CUDA stream and returns. Nothing is allocated, copied
 * to the host or waited for. All arrays are dense, in the order of their shape, on the device, and aligned to 16 bytes
 * at least. N batch, T time steps, H hidden, D directions (1, or 2 when bidirectional: 0 forward, 1 reverse).
 */
#ifndef EDGEKIT_KERNELS_H
#define EDGEKIT_KERNELS_H

#ifndef __CUDACC_RTC__
#include <stddef.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every change of what stands here. */
#define EK_VERSION 1

enum ek_status { EK_OK = 0, EK_UNSUPPORTED = 1, EK_INVALID = 2, EK_FAILED = 3 };
enum ek_type { EK_FLOAT32 = 0, EK_FLOAT16 = 1, EK_INT8 = 2, EK_BFLOAT16 = 3 };
enum ek_direction { EK_FORWARD = 0, EK_REVERSE = 1, EK_BIDIRECTIONAL = 2 };

/* What a kernel has to fit into. */
typedef struct ek_device {
    int sm;                        /* compute capability times ten: 87 is 8.7 */
    int multiprocessors;           /* of this device: AGX Orin 16, Orin Nano 8 */
    int shared_per_block;          /* bytes of shared memory that a block may opt in to */
    int shared_per_multiprocessor; /* bytes, for all blocks together */
    int threads_per_multiprocessor;
    int blocks_per_multiprocessor;
} ek_device;

/* ONNX LSTM with its input projection taken out: gates in the order i, o, f, c, activations sigmoid, tanh, tanh.
 *
 * xproj is x @ W^T + Wb + Rb for all steps, one product over the whole sequence, whose output this is by a free view.
 * A row of the batch ends after its length: y is 0 behind it, h_n and c_n are the state at its end, and the reverse
 * direction starts there. A length of 0 gives h_n = h0 and c_n = c0.
 */
typedef struct ek_lstm {
    int steps;            /* T */
    int batch;            /* N */
    int hidden;           /* H */
    int direction;        /* ek_direction */
    int weights;          /* ek_type of r */
    float clip;           /* of what goes into each activation, c before its tanh too, to +-clip; 0: none */
    float const* xproj;   /* [T,N,D,4H] */
    void const* r;        /* [D,4H,H] */
    float const* r_scale; /* [D,4H] for INT8, of each row of r; else NULL */
    int const* lengths;   /* [N], 0..T; NULL: all T */
    float const* h0;      /* [D,N,H]; NULL: 0 */
    float const* c0;      /* [D,N,H]; NULL: 0 */
    float* y;             /* [T,D,N,H] */
    float* h_n;           /* [D,N,H]; NULL: not wanted */
    float* c_n;           /* [D,N,H]; NULL: not wanted */
} ek_lstm;

/* ONNX GRU with its input projection taken out: gates in the order z, r, h, activations sigmoid, sigmoid, tanh. Rows
 * end as those of ek_lstm.
 *
 * xproj is x @ W^T + Wb + Rb, but for the candidate h, whose Rb is rb_h: with linear_before_reset it lies inside of
 * what r multiplies.
 */
typedef struct ek_gru {
    int steps;               /* T */
    int batch;               /* N */
    int hidden;              /* H */
    int direction;           /* ek_direction */
    int weights;             /* ek_type of r */
    int linear_before_reset; /* 1: n = tanh(x + r (R h + rb_h)), as torch and cuDNN; 0: n = tanh(x + R (r h) + rb_h) */
    float clip;              /* of what goes into each activation, to +-clip; 0: none */
    float const* xproj;      /* [T,N,D,3H] */
    void const* r;           /* [D,3H,H] */
    float const* r_scale;    /* [D,3H] for INT8, of each row of r; else NULL */
    int const* lengths;      /* [N], 0..T; NULL: all T */
    float const* h0;         /* [D,N,H]; NULL: 0 */
    float const* rb_h;       /* [D,H]; NULL: 0 */
    float* y;                /* [T,D,N,H] */
    float* h_n;              /* [D,N,H]; NULL: not wanted */
} ek_gru;

enum ek_activation { EK_TANH = 0, EK_RELU = 1 };

/* ONNX RNN with its input projection taken out: h = activation(xproj + R h). Rows end as those of ek_lstm. */
typedef struct ek_rnn {
    int steps;            /* T */
    int batch;            /* N */
    int hidden;           /* H */
    int direction;        /* ek_direction */
    int weights;          /* ek_type of r */
    int activation;       /* ek_activation */
    float clip;           /* of what goes into the activation, to +-clip; 0: none */
    float const* xproj;   /* [T,N,D,H] */
    void const* r;        /* [D,H,H] */
    float const* r_scale; /* [D,H] for INT8, of each row of r; else NULL */
    int const* lengths;   /* [N], 0..T; NULL: all T */
    float const* h0;      /* [D,N,H]; NULL: 0 */
    float* y;             /* [T,D,N,H] */
    float* h_n;           /* [D,N,H]; NULL: not wanted */
} ek_rnn;

/* What will run. */
typedef struct ek_plan {
    int form;           /* 0: one block a group, weights in registers; 1: several blocks, weights in shared memory */
    int groups;         /* a group is eight rows of the batch in one direction */
    int groups_at_once; /* how many of them one launch computes */
    int blocks_per_group;
    int threads_per_block;
    int shared_per_block; /* bytes */
    int launches;
    size_t workspace; /* bytes */
} ek_plan;

/* Where the queries of an attention stand among its keys. */
enum ek_position { EK_AFTER_PAST = 0, EK_AT_END = 1 };

/* ONNX Attention, its inputs with the heads in front: o = softmax(mask(softcap(scale q k^T) + bias)) v.
 *
 * N batch, h heads of q, h_kv heads of k and v (each serves h / h_kv neighbours), S_q queries, S_kv new keys, P past
 * keys, D and D_v sizes of a head. What is attended to is the past and then the new keys; S_total = P + S_kv.
 * A query's position is P + its number, or with EK_AT_END its number counted from key_lengths[n] - S_q. Key j is seen
 * from position i when j < key_lengths[n], j <= i if causal, i - window_left <= j <= i + window_right, and its bias is
 * not -infinity. A query that sees no key gets zeros.
 *
 * The cache: none (present_k NULL, past 0); or copies, where the launch writes present_k and present_v,
 * [N,h_kv,P + S_kv,..], from past and new keys; or in place (capacity > 0), where present_k and present_v are
 * [N,h_kv,capacity,..], hold the past keys already, and get the new ones behind them. In place, P is read on the device
 * from past_length, so that a CUDA graph can be replayed, and kept within 0 .. capacity - S_kv.
 */
typedef struct ek_attention {
    int batch;                 /* N */
    int heads;                 /* h */
    int kv_heads;              /* h_kv */
    int queries;               /* S_q */
    int keys;                  /* S_kv, of k and v */
    int past;                  /* P, of past_k and past_v; 0 in place */
    int capacity;              /* of a cache in place; 0: none */
    int head_size;             /* D */
    int value_size;            /* D_v */
    int type;                  /* ek_type of q, k, v, o and the cache: not EK_INT8 */
    int bias_type;             /* EK_FLOAT32, or the same as type */
    int causal;                /* 0 or 1 */
    int position;              /* ek_position */
    int window_left;           /* -1: not bounded */
    int window_right;          /* -1: not bounded */
    float scale;               /* often 1 / sqrt(D) */
    float softcap;             /* softcap tanh(x / softcap), before the bias; 0: none */
    long long bias_strides[4]; /* of [N,h,S_q,S_total], in elements; 0 where it is broadcast */
    void const* q;             /* [N,h,S_q,D] */
    void const* k;             /* [N,h_kv,S_kv,D] */
    void const* v;             /* [N,h_kv,S_kv,D_v] */
    void const* bias;          /* NULL: none */
    int const* key_lengths;    /* [N], past keys among them; NULL: all */
    int const* past_length;    /* [1], in place only */
    void const* past_k;        /* [N,h_kv,P,D]; NULL when P is 0 */
    void const* past_v;        /* [N,h_kv,P,D_v]; NULL when P is 0 */
    void* present_k;           /* NULL: no cache */
    void* present_v;           /* NULL: no cache */
    void* o;                   /* [N,h,S_q,D_v] */
} ek_attention;

/* How an attention is cut. A tile is rows of queries that share a head of k and v: [h / h_kv * S_q, D]. */
typedef struct ek_tiling {
    int form;              /* 0: FP32 arithmetic; 1: tensor cores */
    int head;              /* the size of a head in registers and shared memory, D and D_v rounded up */
    int tile_rows;         /* of queries */
    int tile_keys;         /* that a block has at a time */
    int tiles;             /* of all heads and batches together */
    int splits;            /* blocks that share the keys of a tile; more than 1: another kernel adds up */
    int threads_per_block; /* tiles * splits blocks */
    int shared_per_block;  /* bytes */
    int launches;
    int tensorrt_is_better; /* expected, not measured: TensorRT's own fused attention computes the same */
    size_t workspace;       /* bytes */
} ek_tiling;

#ifndef __CUDACC_RTC__
int ek_version(void);

/* Fill the limits of an SM and set the number of multiprocessors. EK_INVALID for an SM that is not known. */
int ek_device_limits(int sm, int multiprocessors, ek_device* device);
/* Ask CUDA for the device that launches of this thread go to. EK_FAILED without one, and in the emulator. */
int ek_device_current(ek_device* device);

/* EK_OK, EK_UNSUPPORTED or EK_INVALID; why not is in `reason`, one line. Pointers of the problem are not looked at. */
int ek_lstm_supported(ek_lstm const* lstm, ek_device const* device, char* reason, size_t reason_size);
int ek_lstm_plan(ek_lstm const* lstm, ek_device const* device, ek_plan* plan);
size_t ek_lstm_workspace(ek_lstm const* lstm, ek_device const* device);
/* `workspace` needs no particular content. EK_FAILED: ek_last_error says what CUDA, or the emulator, said. */
int ek_lstm_launch(ek_lstm const* lstm, ek_device const* device, void* workspace, void* stream);

int ek_gru_supported(ek_gru const* gru, ek_device const* device, char* reason, size_t reason_size);
int ek_gru_plan(ek_gru const* gru, ek_device const* device, ek_plan* plan);
size_t ek_gru_workspace(ek_gru const* gru, ek_device const* device);
int ek_gru_launch(ek_gru const* gru, ek_device const* device, void* workspace, void* stream);

int ek_rnn_supported(ek_rnn const* rnn, ek_device const* device, char* reason, size_t reason_size);
int ek_rnn_plan(ek_rnn const* rnn, ek_device const* device, ek_plan* plan);
size_t ek_rnn_workspace(ek_rnn const* rnn, ek_device const* device);
int ek_rnn_launch(ek_rnn const* rnn, ek_device const* device, void* workspace, void* stream);

/* The same for attention. */
int ek_attention_supported(ek_attention const* attention, ek_device const* device, char* reason, size_t reason_size);
int ek_attention_plan(ek_attention const* attention, ek_device const* device, ek_tiling* tiling);
size_t ek_attention_workspace(ek_attention const* attention, ek_device const* device);
int ek_attention_launch(ek_attention const* attention, ek_device const* device, void* workspace, void* stream);

/* Of this thread's last call that was not EK_OK; valid until its next call. */
char const* ek_last_error(void);
#endif

#ifdef __cplusplus
}
#endif
#endif
