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
enum ek_type { EK_FLOAT32 = 0, EK_FLOAT16 = 1, EK_INT8 = 2 };
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

/* Of this thread's last call that was not EK_OK; valid until its next call. */
char const* ek_last_error(void);
#endif

#ifdef __cplusplus
}
#endif
#endif
