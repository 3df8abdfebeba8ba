"""The reviewed architectures. This module imports no torch: `edgekit export --list` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A network that edgekit knows by name.

    `builder` is `module:function`, which returns an `edgekit.models.network.Network`. A function with a parameter
    `config` gets an instance of that parameter's class, with the values of `preset` and of `--set`.
    """

    family: str
    task: str
    builder: str
    preset: dict[str, Any] = field(default_factory=dict)


_VISION, _RECURRENT = "edgekit.models.vision", "edgekit.models.recurrent"
_LANGUAGE, _DETECTION = "edgekit.models.language", "edgekit.models.detection"
_IMAGES, _SEQUENCES, _STEPS = "image classification", "sequence classification", "sequence tagging"
_SERIES, _TOKENS = "forecasting", "language modelling"
_HYBRIDS, _SEQ2SEQ, _TRANSLATION = "edgekit.models.hybrids", "edgekit.models.seq2seq", "translation"
_RNN, _LSTM, _GRU = ({"cell": cell} for cell in ("rnn", "lstm", "gru"))
_BIRNN, _BILSTM, _BIGRU = ({**preset, "bidirectional": True} for preset in (_RNN, _LSTM, _GRU))

ARCHITECTURES = {
    "efficientnet_lite0": Architecture("cnn", _IMAGES, "edgekit.models.efficientnet:lite0"),
    "alexnet": Architecture("cnn", _IMAGES, f"{_VISION}:alexnet"),
    "vgg11": Architecture("cnn", _IMAGES, f"{_VISION}:vgg11"),
    "vgg16": Architecture("cnn", _IMAGES, f"{_VISION}:vgg16"),
    "resnet18": Architecture("cnn", _IMAGES, f"{_VISION}:resnet18"),
    "resnet50": Architecture("cnn", _IMAGES, f"{_VISION}:resnet50"),
    "efficientnet_b0": Architecture("cnn", _IMAGES, f"{_VISION}:efficientnet_b0"),
    "vit_b_16": Architecture("transformer", _IMAGES, f"{_VISION}:vit_b_16"),
    "vit_small": Architecture("transformer", _IMAGES, f"{_VISION}:vit_small"),
    "rnn_classifier": Architecture("rnn", _SEQUENCES, f"{_RECURRENT}:classifier", _RNN),
    "lstm_classifier": Architecture("rnn", _SEQUENCES, f"{_RECURRENT}:classifier", _LSTM),
    "gru_classifier": Architecture("rnn", _SEQUENCES, f"{_RECURRENT}:classifier", _GRU),
    "birnn_classifier": Architecture("rnn", _SEQUENCES, f"{_RECURRENT}:classifier", _BIRNN),
    "bilstm_classifier": Architecture("rnn", _SEQUENCES, f"{_RECURRENT}:classifier", _BILSTM),
    "bigru_classifier": Architecture("rnn", _SEQUENCES, f"{_RECURRENT}:classifier", _BIGRU),
    "rnn_tagger": Architecture("rnn", _STEPS, f"{_RECURRENT}:tagger", _RNN),
    "lstm_tagger": Architecture("rnn", _STEPS, f"{_RECURRENT}:tagger", _LSTM),
    "gru_tagger": Architecture("rnn", _STEPS, f"{_RECURRENT}:tagger", _GRU),
    "birnn_tagger": Architecture("rnn", _STEPS, f"{_RECURRENT}:tagger", _BIRNN),
    "bilstm_tagger": Architecture("rnn", _STEPS, f"{_RECURRENT}:tagger", _BILSTM),
    "bigru_tagger": Architecture("rnn", _STEPS, f"{_RECURRENT}:tagger", _BIGRU),
    "rnn_forecaster": Architecture("rnn", _SERIES, f"{_RECURRENT}:forecaster", _RNN),
    "lstm_forecaster": Architecture("rnn", _SERIES, f"{_RECURRENT}:forecaster", _LSTM),
    "gru_forecaster": Architecture("rnn", _SERIES, f"{_RECURRENT}:forecaster", _GRU),
    "rnn_language_model": Architecture("rnn", _TOKENS, f"{_RECURRENT}:language_model", _RNN),
    "lstm_language_model": Architecture("rnn", _TOKENS, f"{_RECURRENT}:language_model", _LSTM),
    "gru_language_model": Architecture("rnn", _TOKENS, f"{_RECURRENT}:language_model", _GRU),
    "rnn_stream": Architecture("rnn", _STEPS, f"{_RECURRENT}:stream", _RNN),
    "lstm_stream": Architecture("rnn", _STEPS, f"{_RECURRENT}:stream", _LSTM),
    "gru_stream": Architecture("rnn", _STEPS, f"{_RECURRENT}:stream", _GRU),
    "lstm_attention": Architecture("hybrid", _SEQUENCES, f"{_HYBRIDS}:lstm_attention"),
    "cnn_lstm": Architecture("hybrid", "video classification", f"{_HYBRIDS}:cnn_lstm"),
    "cnn_bigru_ctc": Architecture("hybrid", "speech recognition", f"{_HYBRIDS}:cnn_bigru_ctc"),
    "seq2seq": Architecture("hybrid", _TRANSLATION, f"{_SEQ2SEQ}:seq2seq"),
    "seq2seq_encoder": Architecture("hybrid", _TRANSLATION, f"{_SEQ2SEQ}:encoder"),
    "seq2seq_decoder": Architecture("hybrid", _TRANSLATION, f"{_SEQ2SEQ}:decoder"),
    "transformer_encoder": Architecture("transformer", _SEQUENCES, "edgekit.models.encoder:classifier"),
    "bert_classifier": Architecture("transformer", "text classification", f"{_LANGUAGE}:bert_classifier"),
    "gpt2": Architecture("transformer", _TOKENS, f"{_LANGUAGE}:gpt2"),
    "gpt2_cached": Architecture("transformer", _TOKENS, f"{_LANGUAGE}:gpt2_cached"),
    "lraspp_mobilenet_v3_large": Architecture(
        "cnn", "segmentation", "edgekit.models.segmentation:lraspp_mobilenet_v3_large"
    ),
    "mtcnn_pnet": Architecture("cnn", "face detection", f"{_DETECTION}:mtcnn_pnet"),
    "mtcnn_rnet": Architecture("cnn", "face detection", f"{_DETECTION}:mtcnn_rnet"),
    "mtcnn_onet": Architecture("cnn", "face detection", f"{_DETECTION}:mtcnn_onet"),
}
