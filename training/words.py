"""Words of a text, and how often: in Python to train with, and the same as the beginning of an ONNX graph.

Both fold the case of A to Z only, which needs no table and no locale. Knows no topics and no network.
"""

import re
import string
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

# Two or more letters of the Latin alphabet, accents and all. Written out, since \w means another thing to RE2.
WORD = "[a-zÀ-ÖØ-öø-ɏ]{2,}"
FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
# Tokenizer belongs to onnxruntime's own operators, which are in every build of it, not to ONNX.
CONTRIBUTED = "com.microsoft"


def words_of(text: str) -> list[str]:
    return re.findall(WORD, text.translate(FOLD))


def places_of(texts: Sequence[str], vocabulary: Sequence[str]) -> list[Tensor]:
    """Of each text, the places of its words in the vocabulary, in the order they come; others are left out."""
    known = {word: place for place, word in enumerate(vocabulary)}
    return [
        torch.tensor([known[word] for word in words_of(text) if word in known], dtype=torch.int64) for text in texts
    ]


def counts_of(places: Sequence[Tensor], size: int) -> Tensor:
    """float32 [texts, size]"""
    counts = torch.zeros(len(places), size)
    for row, each in enumerate(places):
        counts[row] = each.bincount(minlength=size)
    return counts


def from_text(graph: bytes, vocabulary: Sequence[str]) -> bytes:
    """The graph takes `text`, strings [batch], in the place of `counts`, float [batch, vocabulary], and tells `words`,
    strings, in the place of `places` in the vocabulary; the place behind its end is no word."""
    model = onnx.load_from_string(graph)
    opset = next(each.version for each in model.opset_import if not each.domain)
    taking = _model(_counting(vocabulary), opset, model.ir_version)
    telling = _model(_naming(vocabulary, model), opset, model.ir_version)
    outputs = ["words" if output.name == "places" else output.name for output in model.graph.output]
    merged = onnx.compose.merge_models(taking, model, [("counts", "counts")])
    merged = onnx.compose.merge_models(merged, telling, [("places", "places")])
    del merged.opset_import[:]  # it has every part's
    merged.opset_import.extend(taking.opset_import)
    by_name = {output.name: output for output in merged.graph.output}
    del merged.graph.output[:]
    merged.graph.output.extend(by_name[name] for name in outputs)
    onnx.checker.check_model(merged, full_check=True)
    return bytes(merged.SerializeToString())


def _model(graph: onnx.GraphProto, opset: int, ir_version: int) -> onnx.ModelProto:
    domains = [helper.make_opsetid("", opset), helper.make_opsetid(CONTRIBUTED, 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=ir_version)


def _counting(vocabulary: Sequence[str]) -> onnx.GraphProto:
    """text → counts, one text after the other. All together would be padded to the longest, and one of a million words
    among a thousand short ones would take the machine's memory."""
    size = len(vocabulary)
    one = helper.make_graph(
        [
            helper.make_node("Gather", ["text", "row"], ["alone"], axis=0),
            helper.make_node("Unsqueeze", ["alone", "first_axis"], ["one_text"]),
            helper.make_node("StringNormalizer", ["one_text"], ["folded"], case_change_action="LOWER", locale="C"),
            helper.make_node(
                "Tokenizer",
                ["folded"],
                ["tokens"],
                domain=CONTRIBUTED,
                mark=0,
                mincharnum=1,
                pad_value="",
                tokenexp=WORD,
            ),
            helper.make_node(
                "TfIdfVectorizer",
                ["tokens"],
                ["one_counts"],
                mode="TF",
                min_gram_length=1,
                max_gram_length=1,
                max_skip_count=0,
                ngram_counts=[0],
                ngram_indexes=list(range(size)),
                pool_strings=list(vocabulary),
            ),
            helper.make_node("Squeeze", ["one_counts", "first_axis"], ["counts_of_one"]),
            helper.make_node("Identity", ["going"], ["going_on"]),
        ],
        "count_words_of_one_text",
        [
            helper.make_tensor_value_info("row", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("counts_of_one", TensorProto.FLOAT, [size]),
        ],
        [helper.make_tensor("first_axis", TensorProto.INT64, [1], [0])],
    )
    return helper.make_graph(
        [
            helper.make_node("Size", ["text"], ["texts"]),
            helper.make_node("Loop", ["texts", ""], ["counts"], name="count_words", body=one),
        ],
        "count_words",
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])],
        [helper.make_tensor_value_info("counts", TensorProto.FLOAT, ["batch", size])],
    )


def _naming(vocabulary: Sequence[str], model: onnx.ModelProto) -> onnx.GraphProto:
    """places → words"""
    [places] = [output for output in model.graph.output if output.name == "places"]
    width = places.type.tensor_type.shape.dim[1].dim_value
    return helper.make_graph(
        [helper.make_node("Gather", ["vocabulary", "places"], ["words"], name="name_words", axis=0)],
        "name_words",
        [places],
        [helper.make_tensor_value_info("words", TensorProto.STRING, ["batch", width])],
        [numpy_helper.from_array(np.array([*vocabulary, ""], object), "vocabulary")],
    )
