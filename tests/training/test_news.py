"""Words are counted and weighted as scikit-learn does it, in PyTorch and in the graph; the words told are those that
decided; twins stay together."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import chi2
from torch import Tensor, nn

from app.card import read_card
from tests.conftest import ROOT
from training import export, news
from training.articles import Articles, decode, load_articles, load_test_articles, twins
from training.data import BBC_NEWS
from training.export import ExportError
from training.news import (
    EXAMPLES,
    Explained,
    TfIdf,
    accuracies,
    build,
    check_parity,
    chi_squared,
    choose_vocabulary,
    explained,
    first_words,
    golden_rows,
    to_onnx,
)
from training.words import FOLD, WORD, counts_of, places_of, words_of

TEXTS = [
    *EXAMPLES,
    "Goal! GOAL!! goal...\nThe keeper saw the ball late",
    "café naïve Éclair straße İstanbul m² don't 3rd x",
    "nul\0nul \t\r\n shares\u00a0fell\u2003sharply \u200b",
    "日本語 русский ελληνικά 🎉🎉",
    " ".join(["oil", "unheard", "film"] * 40_000),
    "a" * 100_000,
]
WORDS = sorted({word for text in TEXTS[:8] for word in words_of(text)})


def scikit_learn(texts: list[str], words: list[str] | None, **settings: float) -> TfidfVectorizer:
    vectorizer = TfidfVectorizer(
        vocabulary=words,
        lowercase=False,
        preprocessor=lambda text: text.translate(FOLD),
        token_pattern=WORD,
        sublinear_tf=True,
        **settings,
    )
    return vectorizer.fit(texts)


@pytest.fixture(scope="module")
def oracle() -> TfidfVectorizer:
    return scikit_learn(TEXTS, WORDS)


@pytest.fixture(scope="module")
def network(oracle: TfidfVectorizer) -> nn.Sequential:
    """Untrained, with weights large enough to have an opinion."""
    torch.manual_seed(3)
    network = build(torch.tensor(oracle.idf_, dtype=torch.float32), 5).eval()
    for module in network:
        if isinstance(module, nn.Linear):
            module.weight.data *= 3
    return network


@pytest.fixture(scope="module")
def graph(network: nn.Sequential) -> bytes:
    return to_onnx([network], WORDS)


def counts(*texts: str) -> Tensor:
    return counts_of(places_of(texts, WORDS), len(WORDS))


def answers(graph: bytes, *texts: str) -> dict[str, NDArray[np.generic]]:
    return export.run(graph, np.array(texts, object))


def test_words_are_latin_letters_two_or_more() -> None:
    assert words_of("Don't PANIC: 2 cafés, naïve×naïve, a b\0cd") == ["don", "panic", "cafés", "naïve", "naïve", "cd"]


def test_tfidf_is_scikit_learns(network: nn.Sequential, oracle: TfidfVectorizer) -> None:
    np.testing.assert_allclose(network[0](counts(*TEXTS)), oracle.transform(TEXTS).toarray(), atol=1e-6)


def test_graph_counts_and_weights_words_as_scikit_learn(
    network: nn.Sequential, graph: bytes, oracle: TfidfVectorizer
) -> None:
    """The rest of the network over scikit-learn's vector says what the graph says to the text."""
    weighted = torch.tensor(oracle.transform(TEXTS).toarray(), dtype=torch.float32)
    with torch.inference_mode():
        logits = network[1:](weighted)

    np.testing.assert_allclose(answers(graph, *TEXTS)["logits"], logits, atol=1e-5)


def own_sentences() -> Articles:
    """Each topic's own, with fewer and fewer of its first words."""
    pairs = [(words_of(text)[start:], topic) for topic, text in enumerate(EXAMPLES[:5]) for start in range(6)]
    return Articles([" ".join(words) for words, _ in pairs], torch.tensor([topic for _, topic in pairs]))


def test_vocabulary_and_rarity_are_scikit_learns() -> None:
    articles = own_sentences()
    theirs = scikit_learn(articles.texts, None, min_df=news.FEWEST_ARTICLES, max_df=news.LARGEST_SHARE)
    words, idf = choose_vocabulary(articles)

    assert words == list(theirs.get_feature_names_out())
    np.testing.assert_allclose(idf, theirs.idf_, rtol=1e-6)


def test_words_that_tell_most_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    articles = own_sentences()
    every, _ = choose_vocabulary(articles)
    there = counts_of(places_of(articles.texts, every), len(every)).clamp(max=1)
    theirs, _ = chi2(there.numpy(), articles.labels.numpy())
    monkeypatch.setattr(news, "VOCABULARY", 12)
    words, idf = choose_vocabulary(articles)

    np.testing.assert_allclose(chi_squared(there, articles.labels), theirs, rtol=1e-12)
    left_out = [score for score, word in zip(theirs, every, strict=True) if word not in words]
    assert words == sorted(words) and len(words) == len(idf) == 12
    assert min(theirs[every.index(word)] for word in words) > max(left_out) - 1e-9


def test_each_text_of_a_batch_gets_the_answer_it_gets_alone(graph: bytes) -> None:
    together = answers(graph, *TEXTS)
    for row, text in enumerate(TEXTS):
        for name, alone in answers(graph, text).items():
            if alone.dtype == object:
                assert alone[0].tolist() == together[name][row].tolist()
            else:
                np.testing.assert_allclose(alone[0], together[name][row], atol=1e-6)


def test_batch_of_no_text_is_answered_with_no_row(graph: bytes) -> None:
    session = ort.InferenceSession(graph)

    assert [output.shape for output in session.run(None, {"text": np.array([], object)})] == [
        (0, 5),
        (0, 5),
        (0, 10),
        (0, 10),
    ]


def test_graph_takes_text_and_needs_no_operator_that_onnxruntime_has_not(graph: bytes) -> None:
    model = onnx.load_from_string(graph)
    [text] = model.graph.input

    assert (text.name, text.type.tensor_type.elem_type) == ("text", onnx.TensorProto.STRING)
    assert [axis.dim_param for axis in text.type.tensor_type.shape.dim] == ["batch"]
    assert [output.name for output in model.graph.output] == list(news.OUTPUTS)
    assert sorted(each.domain for each in model.opset_import) == ["", "com.microsoft"]


def test_case_and_position_do_not_matter(graph: bytes) -> None:
    one, other = answers(graph, "Oil SHARES fell", "🎉 FELL... (shares) oil?")["logits"]

    np.testing.assert_array_equal(one, other)


def test_words_told_are_the_heaviest_of_the_text(graph: bytes) -> None:
    told = answers(graph, *TEXTS)
    for text, words, weights in zip(TEXTS, told["words"], told["word_weights"], strict=True):
        spoken = [word for word in words if word]
        assert set(spoken) <= set(words_of(text))
        assert len(set(spoken)) == len(spoken) == np.count_nonzero(weights)
        assert sorted(weights, reverse=True) == weights.tolist()
        assert (weights >= 0).all()


def contributions(network: nn.Sequential, *texts: str) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        return Explained([network]).contributions(counts(*texts), torch.arange(len(WORDS)))


def test_words_weigh_tfidf_times_gradient(network: nn.Sequential) -> None:
    weighted = network[0](counts(*EXAMPLES)).requires_grad_()
    logits = network[1:](weighted)
    (logits.amax(1) - logits.mean(1)).sum().backward()
    assert weighted.grad is not None

    theirs, spoken = contributions(network, *EXAMPLES)
    torch.testing.assert_close(theirs, logits, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(spoken, (weighted * weighted.grad).detach(), atol=1e-6, rtol=1e-4)


@pytest.fixture(scope="module")
def networks(network: nn.Sequential) -> list[nn.Sequential]:
    """Three that differ."""
    torch.manual_seed(8)
    others = [build(network[0].idf, 5).eval() for _ in range(2)]
    for module in (module for other in others for module in other if isinstance(module, nn.Linear)):
        module.weight.data *= 3
    return [network, *others]


def test_several_networks_answer_with_the_mean_of_their_logits(networks: list[nn.Sequential]) -> None:
    with torch.inference_mode():
        alone = torch.stack([network(counts(*TEXTS)) for network in networks])

    np.testing.assert_allclose(answers(to_onnx(networks, WORDS), *TEXTS)["logits"], alone.mean(0), atol=1e-5)
    assert len({tuple(each.argmax(1).tolist()) for each in alone}) == len(networks)


def test_words_of_several_networks_weigh_tfidf_times_gradient_of_the_mean(networks: list[nn.Sequential]) -> None:
    weighted = networks[0][0](counts(*EXAMPLES)).requires_grad_()
    logits = torch.stack([network[1:](weighted) for network in networks]).mean(0)
    (logits.amax(1) - logits.mean(1)).sum().backward()
    assert weighted.grad is not None
    with torch.inference_mode():
        _, spoken = Explained(networks).contributions(counts(*EXAMPLES), torch.arange(len(WORDS)))

    torch.testing.assert_close(spoken, (weighted * weighted.grad).detach(), atol=1e-6, rtol=1e-4)


def test_networks_are_told_one_by_one_and_together(networks: list[nn.Sequential]) -> None:
    with torch.inference_mode():
        each = torch.stack([network(counts(*TEXTS)) for network in networks])
    truth = each.mean(0).argmax(1)
    right = [(logits.argmax(1) == truth).float().mean().item() for logits in each]

    assert news.together(networks, WORDS, Articles(TEXTS, truth)) == 1
    assert news.one_by_one(networks, WORDS, Articles(TEXTS, truth)) == {
        "mean_test_accuracy_of_one_network": pytest.approx(np.mean(right)),
        "spread_of_test_accuracy_of_one_network": pytest.approx(np.std(right, ddof=1)),
        "lowest_test_accuracy_of_one_network": pytest.approx(min(right)),
    }


def test_wrong_articles_are_those_answered_wrong_the_most_confident_first(graph: bytes) -> None:
    texts = [f"Headline {place} of $5bn and more\n\n{text}" for place, text in enumerate(EXAMPLES[:5])]
    given = answers(graph, *texts)
    probabilities, topics = given["probabilities"], BBC_NEWS.labels
    order = np.argsort(-probabilities.max(1)).tolist()
    right = order.pop(1)
    truth = torch.from_numpy((probabilities.argmax(1) + 1) % 5)
    truth[right] = int(probabilities[right].argmax())
    found = news.wrong_articles(graph, Articles(texts, truth))

    assert [each.beginning for each in found] == [f"Headline {place} of $5bn and more" for place in order]
    assert [each.answer for each in found] == [topics[probabilities[place].argmax()] for place in order]
    assert [each.truth for each in found] == [topics[int(truth[place])] for place in order]
    assert [each.probability for each in found] == pytest.approx([probabilities[place].max() for place in order])
    assert list(found[0].words) == [word for word in given["words"][order[0]] if word]


def test_words_that_are_not_there_need_not_be_looked_at(network: nn.Sequential) -> None:
    given = counts(*EXAMPLES[:3])
    [there] = given.sum(0).nonzero(as_tuple=True)
    with torch.inference_mode():
        logits, spoken = Explained([network]).contributions(given[:, there], there)

    everything, every = contributions(network, *EXAMPLES[:3])
    assert 0 < len(there) < len(WORDS)
    torch.testing.assert_close(logits, everything, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(spoken, every[:, there], atol=1e-6, rtol=1e-4)


def test_graph_has_the_first_layers_weights_once(network: nn.Sequential, graph: bytes) -> None:
    sizes = [int(np.prod(each.dims)) for each in onnx.load_from_string(graph).graph.initializer]

    assert sizes.count(len(WORDS) * news.HIDDEN[0]) == 1
    assert sum(sizes) < len(WORDS) * (news.HIDDEN[0] + 5) + sum(
        parameter.numel() for parameter in network[4:].parameters()
    )


def test_without_biases_the_words_add_up_to_the_answer(network: nn.Sequential) -> None:
    silent = build(network[0].idf, 5).eval()
    silent.load_state_dict(network.state_dict())
    for module in silent:
        if isinstance(module, nn.Linear):
            module.bias.data.zero_()
    logits, spoken = contributions(silent, *EXAMPLES)

    torch.testing.assert_close(spoken.sum(1), logits.amax(1) - logits.mean(1), atol=1e-5, rtol=1e-5)


def test_evaluation_counts_what_the_graph_gets_right(graph: bytes) -> None:
    beginning, end = "shares of the airline fell " * news.FIRST_WORDS, "actress film award music " * 200
    texts = [beginning, end, f"{beginning} {end}", f"{end} {beginning}"]
    answered, begun = (answers(graph, *each)["logits"].argmax(1) for each in (texts, first_words(texts)))
    wrong = (answered[0] + 1) % 5
    truth = torch.tensor([answered[0], wrong, begun[2], begun[3]])

    assert first_words(texts)[2] == " ".join(beginning.split()[: news.FIRST_WORDS])
    assert accuracies(graph, Articles(texts, truth)) == {
        "test_accuracy": (answered == truth.numpy()).mean(),
        "first_words_accuracy": (begun == truth.numpy()).mean(),
    }


def test_text_without_a_known_word_stays_finite() -> None:
    torch.testing.assert_close(TfIdf(torch.ones(3))(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_graph_answers_as_pytorch_does(network: nn.Sequential, graph: bytes) -> None:
    texts = [f"{one} {other}" for one in EXAMPLES[:5] for other in words_of(" ".join(EXAMPLES))]

    assert check_parity([network], graph, texts, WORDS) < 1e-5


def test_parity_of_other_words_is_refused(network: nn.Sequential, graph: bytes) -> None:
    """The same numbers under another vocabulary."""
    texts = [f"{one} {other}" for one in EXAMPLES[:5] for other in words_of(" ".join(EXAMPLES))]
    places = places_of(texts, WORDS)
    wrong = explained([network], places, [word.upper() for word in WORDS])

    with pytest.raises(ExportError, match="onnxruntime's words differs from PyTorch's"):
        export.check_answers(wrong, graph, np.array(texts, object))


def test_golden_rows_are_the_examples_with_their_words(network: nn.Sequential, graph: bytes) -> None:
    golden = golden_rows([network], WORDS)

    assert golden.inputs["text"].array().tolist() == list(EXAMPLES)
    assert golden.outputs["words"].array().tolist() == answers(graph, *EXAMPLES)["words"].tolist()


def test_texts_with_a_long_sentence_in_common_are_twins() -> None:
    shared = "One two three four five six seven eight nine."
    other = "Ten apples fell from the tree in the old garden."
    texts = ["alpha is here", f"beta {shared}", f"Gamma!\n{shared} {other}", "delta", other.upper(), "alpha is here"]
    texts[1] = f"beta. {shared}"

    assert twins(texts) == [[0], [1, 2, 4], [3], [5]]


def test_bytes_that_are_no_utf8_are_windows() -> None:
    assert [decode(content) for content in ("£5".encode(), b"\xa35", b"\x81")] == ["£5", "£5", "�"]


@pytest.fixture(scope="module")
def sides(data: Path) -> list[Articles]:
    """Training, validation, test."""
    return [*load_articles(BBC_NEWS, data), load_test_articles(BBC_NEWS, data)]


def test_no_article_has_a_twin_on_another_side(sides: list[Articles]) -> None:
    everything = [text for side in sides for text in side.texts]
    side_of = np.repeat([0, 1, 2], [len(side) for side in sides])

    assert len(everything) == 2_225
    assert abs(len(sides[2]) - 2_225 / 4) < 10
    assert all(len(set(side_of[group])) == 1 for group in twins(everything))


def test_topics_have_the_same_share_on_every_side(sides: list[Articles]) -> None:
    shares = [side.labels.bincount() / len(side) for side in sides]

    assert max(float((shares[0] - other).abs().max()) for other in shares[1:]) < 0.01


def test_articles_are_weighted_as_by_scikit_learn(sides: list[Articles]) -> None:
    train, validation, _ = sides
    words, idf = choose_vocabulary(train)
    theirs = scikit_learn(train.texts, words)
    some = validation.take(list(range(0, len(validation), 5)))

    assert len(words) == news.VOCABULARY
    weighted = TfIdf(idf)(counts_of(places_of(some.texts, words), len(words)))
    np.testing.assert_allclose(weighted, theirs.transform(some.texts).toarray(), atol=1e-5)


def test_artifact_reaches_what_its_card_says(sides: list[Articles]) -> None:
    """On the test split, by onnxruntime alone."""
    artifact = ROOT / "artifacts" / "news-mlp" / "1" / "model.onnx"
    card = read_card({prop.key: prop.value for prop in onnx.load(artifact).metadata_props})
    assert card is not None
    reached = accuracies(artifact.read_bytes(), sides[2])

    for metric, value in reached.items():
        assert value == pytest.approx(card.metrics[metric], abs=1 / len(sides[2])), metric
    assert reached["test_accuracy"] >= card.floor["test_accuracy"] == 0.97
    mean, lowest = (card.metrics[f"{which}_test_accuracy_of_one_network"] for which in ("mean", "lowest"))
    assert min(mean, reached["test_accuracy"]) >= lowest >= card.floor["test_accuracy"]


def test_excerpts_are_words_that_follow_each_other() -> None:
    texts = [torch.arange(200), torch.arange(3), torch.tensor([], dtype=torch.int64)] * 20
    seen = news.excerpts(texts, torch.Generator().manual_seed(0))

    assert all(torch.equal(each, torch.arange(len(each)) + (each[0] if len(each) else 0)) for each in seen)
    lengths = sorted(len(each) for each in seen[::3])
    assert lengths[0] >= news.SHORTEST_EXCERPT and 5 <= lengths.count(200) <= 15
    assert [len(each) for each in seen[1::3]] == [3] * 20


def test_training_learns_from_own_sentences() -> None:
    """Five topics by their own words; the empty text is of any."""
    texts = [text for text in EXAMPLES[:5] for _ in range(30)]
    articles = Articles(texts, torch.arange(5).repeat_interleave(30))
    torch.manual_seed(0)
    network = build(torch.ones(len(WORDS)), 5)
    history = news.fit(network, articles, articles, WORDS, epochs=12, seed=0)
    with torch.inference_mode():
        empty = network.eval()(counts("")).softmax(1)

    assert history[-1].validation_accuracy == 1.0
    assert float((empty - 0.2).abs().max()) < 0.15
