"""News topics: words counted, weighted by how rare they are, and MLPs of four dense layers over them.

The graph tells as well which words spoke for its answer. `percept train news-mlp`.
"""

import math
import statistics
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, Epoch, Golden, TextInput
from training import export, figures
from training.articles import SENTENCE_WORDS, TEST_SHARE, Articles, load_articles, load_test_articles
from training.data import BBC_NEWS
from training.export import Answers, Exportable
from training.fit import mean_history, seed_everything
from training.one_cycle import Cycle, descend
from training.system import Trained, Workplace, dataset_facts, training_facts
from training.words import WORD, counts_of, from_text, places_of, words_of

# A word may be known if so many training articles have it, and not more than this share of them.
FEWEST_ARTICLES, LARGEST_SHARE = 4, 0.5
# Of those, the words that tell most about the topic. With five folds of training and validation articles, one on the
# other, 3,000 of them and 64 units were right of 96.6 % (loss 0.104), all 9,000 and 128 units of 96.8 % (0.110).
VOCABULARY = 3_000
HIDDEN = (64, 64, 32)
# Served is the mean of so many networks' logits, since one alone may be unlucky: on the validation split the losses of
# eight were 0.095 to 0.148, those of four and of the other four together 0.089 and 0.090.
MEMBERS = 4
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 12, 32, 2e-3, 0.05
WORD_DROPOUT, DROPOUT = 0.5, 0.3
# Half of the articles are seen as an excerpt of at least so many words: people send a sentence or two.
SHORTEST_EXCERPT = 6
FIRST_WORDS = 20
TOLD_WORDS = 10
MISTAKES_SHOWN, MOST_OF_A_TITLE = 15, 60
# Words that differ by less, of the heaviest, may come in another order elsewhere.
TIED = 1e-4
SEED = 1
DRY_ROWS = 400

PLACES = {
    "probabilities": "Of each topic; about one fifth each for a text without a known word.",
    "logits": "What the softmax is taken of.",
    "places": "Of the words, in the vocabulary.",
    "word_weights": "How much each of `words` adds to the logit of the answer above the mean of all logits: TF-IDF "
    "times gradient, which is exact for a network of ReLUs but for what its biases add.",
}
OUTPUTS = {
    "probabilities": PLACES["probabilities"],
    "logits": PLACES["logits"],
    "words": f"The words of the text that spoke most for the answer, at most {TOLD_WORDS}, the strongest first; empty "
    "where there are fewer.",
    "word_weights": PLACES["word_weights"],
}
# Made up for this purpose.
EXAMPLES = (
    "Shares of the airline fell by four per cent after it warned that profits would suffer from the price of oil.",
    "The actress won the award for her part in a film about a singer who returns to the stage.",
    "Ministers will publish their plans before the election, and Labour MPs have promised to vote against the bill.",
    "The striker scored twice in the second half and the coach praised his team after the cup match.",
    "The new phone plays video, and its software keeps users safe from spam while they browse the net.",
    "",
    "ÉCLAIRS? 😀 Don't know: 42!",
)


def choose_vocabulary(articles: Articles) -> tuple[list[str], Tensor]:
    """The words in alphabetical order, and how rare each is: ln((1 + texts) / (1 + texts that have it)) + 1."""
    texts = len(articles)
    having = Counter(word for text in articles.texts for word in set(words_of(text)))
    frequent = sorted(word for word, times in having.items() if FEWEST_ARTICLES <= times <= LARGEST_SHARE * texts)
    there = counts_of(places_of(articles.texts, frequent), len(frequent)).clamp(max=1)
    best = chi_squared(there, articles.labels).argsort(descending=True, stable=True)[:VOCABULARY]
    chosen = [frequent[place] for place in best.sort().values.tolist()]
    rarity = [math.log((1 + texts) / (1 + having[word])) + 1 for word in chosen]
    return chosen, torch.tensor(rarity)


def chi_squared(there: Tensor, labels: Tensor) -> Tensor:
    """Of each word, how far the numbers of each topic's texts that have it are from those there would be if it told
    nothing (Yang and Pedersen 1997). `there` is 0 or 1, float [texts, words]; double [words]."""
    topics = F.one_hot(labels).double()
    observed = topics.T @ there.double()
    expected = topics.mean(0)[:, None] * there.double().sum(0)
    return ((observed - expected) ** 2 / expected).sum(0)


def tfidf(counts: Tensor, idf: Tensor) -> Tensor:
    """Counts [N, words] → 1 + ln(count), times how rare the word is, in rows of length one (Salton and Buckley 1988).
    A row without a word stays zero."""
    damped = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0)
    weighted = damped * idf
    length = (weighted * weighted).sum(1, keepdim=True).sqrt()
    return weighted / length.clamp(min=1e-12)


class TfIdf(nn.Module):
    idf: Tensor

    def __init__(self, idf: Tensor) -> None:
        super().__init__()
        self.register_buffer("idf", idf)

    def forward(self, counts: Tensor) -> Tensor:
        return tfidf(counts, self.idf)


def build(idf: Tensor, topics: int) -> nn.Sequential:
    network = nn.Sequential()
    network.add_module("tfidf", TfIdf(idf))
    network.add_module("dropout0", nn.Dropout(WORD_DROPOUT))
    sizes = (len(idf), *HIDDEN)
    for place, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        network.add_module(f"dense{place}", nn.Linear(inputs, outputs))
        network.add_module(f"relu{place}", nn.ReLU())
        network.add_module(f"dropout{place}", nn.Dropout(DROPOUT))
    network.add_module("logits", nn.Linear(HIDDEN[-1], topics))
    return network


class Explained(nn.Module):
    """Counts [N, vocabulary] → probabilities, logits, and the words that spoke for the answer. Logits are the mean of
    the networks', which have one vocabulary.

    Of the first layer only the rows of words that are there are touched, so that onnxruntime keeps its weights once,
    where a product with all of them, and one back, would keep two packed copies, and read both for each text."""

    idf: Tensor
    rows: Tensor  # [vocabulary, first hidden layers of all networks]
    bias: Tensor

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        super().__init__()
        weighted, firsts = networks[0][0], [cast(nn.Linear, network[2]) for network in networks]
        assert isinstance(weighted, TfIdf)
        self.register_buffer("idf", weighted.idf)
        self.register_buffer("rows", torch.cat([first.weight.detach() for first in firsts]).T.contiguous())
        self.register_buffer("bias", torch.cat([first.bias.detach() for first in firsts]))
        self.width = len(firsts[0].bias)
        self.rests = nn.ModuleList(
            nn.Sequential(*(module for module in list(network)[3:] if not isinstance(module, nn.Dropout)))
            for network in networks
        )

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        [there] = counts.sum(0).nonzero(as_tuple=True)
        logits, spoken = self.contributions(counts.index_select(1, there), there)
        weights, columns = F.pad(spoken, (0, TOLD_WORDS)).topk(TOLD_WORDS)
        no_word = counts.shape[1]
        places = F.pad(there, (0, TOLD_WORDS), value=no_word)[columns]
        for_it = weights > 0
        places, weights = torch.where(for_it, places, no_word), torch.where(for_it, weights, 0.0)
        return logits.softmax(1), logits, places, weights

    def contributions(self, counts: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and what each word adds to the answer's logit above the mean: [N, words]. Columns are the words
        `there`, places in the vocabulary; texts have no others."""
        weighted, rows = tfidf(counts, self.idf.index_select(0, there)), self.rows.index_select(0, there)
        hidden = (weighted @ rows + self.bias).split(self.width, 1)
        through = [ThroughReLUs(rest, each) for rest, each in zip(self.rests, hidden, strict=True)]
        logits = torch.stack([each.logits for each in through]).mean(0)
        gradients = [each.gradient(logits.argmax(1)) for each in through]
        return logits, weighted * (torch.cat(gradients, 1) @ rows.T / len(through))


class ThroughReLUs:
    """One network's way from its first hidden layer, before the ReLU, to its logits, and back."""

    def __init__(self, rest: nn.Module, hidden: Tensor) -> None:
        self._passed: list[tuple[Tensor, Tensor]] = []  # who of a layer is awake, and the next layer's weight
        layers = list(rest.children())
        for relu, dense in zip(layers[::2], layers[1::2], strict=True):
            assert isinstance(dense, nn.Linear)
            self._passed.append(((hidden > 0).float(), dense.weight))
            hidden = dense(relu(hidden))
        self.logits = hidden

    def gradient(self, answer: Tensor) -> Tensor:
        """Of the answer's logit less the mean of all, [N, first hidden layer]"""
        *inner, (awake, last) = self._passed
        gradient = (last - last.mean(0))[answer] * awake
        for awake, weight in reversed(inner):
            gradient = gradient @ weight * awake
        return gradient


def excerpts(places: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Half of the texts as they are, of the others some words that follow each other, of any length."""
    chosen = []
    for each in places:
        part, length, start = torch.rand(3, generator=generator).tolist()
        if part < 0.5 and len(each) > SHORTEST_EXCERPT:
            words = round(SHORTEST_EXCERPT * (len(each) / SHORTEST_EXCERPT) ** length)
            first = round(start * (len(each) - words))
            each = each[first : first + words]
        chosen.append(each)
    return chosen


def fit(
    network: nn.Sequential, train: Articles, validation: Articles, words: Sequence[str], epochs: int, seed: int
) -> list[Epoch]:
    """Each batch has an empty text too, which may be of any topic."""
    generator = torch.Generator().manual_seed(seed)
    places, known = places_of(train.texts, words), counts_of(places_of(validation.texts, words), len(words))
    topics = F.one_hot(train.labels, len(BBC_NEWS.labels)).float()
    any_topic = torch.full((1, topics.shape[1]), 1 / topics.shape[1])
    right = torch.zeros(())

    def loss_of(rows: Tensor) -> Tensor:
        given = [*excerpts([places[row] for row in rows], generator), torch.tensor([], dtype=torch.int64)]
        logits = network(counts_of(given, len(words)))
        right.add_((logits[:-1].argmax(1) == train.labels[rows]).sum())
        return F.cross_entropy(logits, torch.cat([topics[rows], any_topic]))

    cycle = Cycle(epochs, BATCH, LEARNING_RATE, WEIGHT_DECAY, fused=False)
    losses = descend(list(network.parameters()), loss_of, len(train), cycle, generator)
    history = []
    for number in tqdm(range(1, epochs + 1), desc="news-mlp", file=sys.stderr, dynamic_ncols=True):
        network.train()
        right.zero_()
        loss = next(losses)
        network.eval()
        with torch.inference_mode():
            answers = network(known)
        history.append(
            Epoch(
                epoch=number,
                loss=loss,
                accuracy=right.item() / len(train),
                validation_loss=F.cross_entropy(answers, validation.labels).item(),
                validation_accuracy=(answers.argmax(1) == validation.labels).float().mean().item(),
            )
        )
    return history


def explained(networks: Sequence[nn.Sequential], places: Sequence[Tensor], words: Sequence[str]) -> Answers:
    """What PyTorch answers to texts, as the whole graph has to."""
    answers = export.pytorch_answers(Exportable(Explained(networks), "counts", PLACES), counts_of(places, len(words)))
    named = np.array([*words, ""], object)
    return {
        "words" if name == "places" else name: named[values] if name == "places" else values
        for name, values in answers.items()
    }


def to_onnx(networks: Sequence[nn.Sequential], words: Sequence[str]) -> bytes:
    what = Exportable(Explained(networks), "counts", PLACES)
    return from_text(export.to_onnx(what, torch.eye(2, len(words))), words)


def check_parity(networks: Sequence[nn.Sequential], graph: bytes, texts: Sequence[str], words: Sequence[str]) -> float:
    """On texts whose told words are in one order for any runtime: none weighs as much as the next. Raises
    ExportError."""
    answers = explained(networks, places_of(texts, words), words)
    weights = answers["word_weights"]
    apart = (-np.diff(weights, axis=1) > TIED * weights[:, :1]) | (weights[:, 1:] == 0)
    clear = np.flatnonzero(apart.all(1))[: export.PARITY_ROWS]
    rows = np.array(texts, object)[clear]
    return export.check_answers({name: values[clear] for name, values in answers.items()}, graph, rows)


def heaviest_words(
    networks: Sequence[nn.Sequential], articles: Articles, words: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Of each topic, the words that add most to its logit, on average over the articles that are answered with it."""
    with torch.inference_mode():
        counts = counts_of(places_of(articles.texts, words), len(words))
        logits, spoken = Explained(networks).contributions(counts, torch.arange(len(words)))
    answers, heaviest = logits.argmax(1), {}
    for index, topic in enumerate(BBC_NEWS.labels):
        means = spoken[answers == index].sum(0) / max(1, int((answers == index).sum()))
        weights, places = means.topk(15)
        heaviest[topic] = {
            words[place]: weight for place, weight in zip(places.tolist(), weights.tolist(), strict=True)
        }
    return heaviest


def golden_rows(networks: Sequence[nn.Sequential], words: Sequence[str]) -> Golden:
    answers = explained(networks, places_of(EXAMPLES, words), words)
    return export.golden_answers("text", np.array(EXAMPLES, object), answers)


def accuracies(graph: bytes, test: Articles) -> dict[str, float]:
    """What the exported graph gets right: of whole articles, and of their beginnings."""
    truth = test.labels.numpy()
    asked = {"test_accuracy": np.array(test.texts, object), "first_words_accuracy": first_words(test.texts)}
    return {
        name: float((export.run(graph, texts)["probabilities"].argmax(1) == truth).mean())
        for name, texts in asked.items()
    }


def first_words(texts: Sequence[str]) -> NDArray[np.object_]:
    """Their headlines, and some words after them."""
    return np.array([" ".join(text.split()[:FIRST_WORDS]) for text in texts], object)


class Learned(NamedTuple):
    networks: list[nn.Sequential]
    words: list[str]
    histories: list[list[Epoch]]


def learn(train: Articles, validation: Articles, epochs: int, seeds: Sequence[int]) -> Learned:
    """A network for each seed, all of one vocabulary."""
    words, idf = choose_vocabulary(train)
    networks, histories = [], []
    for seed in seeds:
        seed_everything(seed)
        networks.append(build(idf, len(BBC_NEWS.labels)))
        histories.append(fit(networks[-1], train, validation, words, epochs, seed))
    return Learned(networks, words, histories)


def together(networks: Sequence[nn.Sequential], words: Sequence[str], articles: Articles) -> float:
    """The accuracy of their mean logits."""
    logits = explained(networks, places_of(articles.texts, words), words)["logits"]
    return float((logits.argmax(1) == articles.labels.numpy()).mean())


def one_by_one(networks: Sequence[nn.Sequential], words: Sequence[str], test: Articles) -> dict[str, float]:
    """What each network is right of alone: mean, spread and the lowest."""
    each = [together([network], words, test) for network in networks]
    return {
        "mean_test_accuracy_of_one_network": statistics.fmean(each),
        "spread_of_test_accuracy_of_one_network": statistics.stdev(each),
        "lowest_test_accuracy_of_one_network": min(each),
    }


def wrong_articles(graph: bytes, test: Articles) -> list[figures.WrongArticle]:
    """The most confident first."""
    answers, topics = export.run(graph, np.array(test.texts, object)), BBC_NEWS.labels
    indices, probabilities = answers["probabilities"].argmax(1), answers["probabilities"].max(1)
    wrong = np.flatnonzero(indices != test.labels.numpy())
    return [
        figures.WrongArticle(
            textwrap.shorten(test.texts[row].split("\n", 1)[0], MOST_OF_A_TITLE, placeholder="…"),
            topics[int(test.labels[row])],
            topics[indices[row]],
            float(probabilities[row]),
            {
                word: float(weight)
                for word, weight in zip(answers["words"][row], answers["word_weights"][row], strict=True)
                if word
            },
        )
        for row in wrong[np.argsort(-probabilities[wrong], kind="stable")][:MISTAKES_SHOWN]
    ]


@dataclass(frozen=True)
class News:
    options: ClassVar[frozenset[str]] = frozenset({"epochs", "seed"})
    name: str = "news-mlp"
    title: str = "News topics: TF-IDF and an MLP"

    @property
    def floor(self) -> dict[str, float]:
        return {"test_accuracy": 0.97}

    def takes(self) -> TextInput:
        return TextInput(language="English", example=EXAMPLES[3], word=WORD)

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return accuracies(graph, load_test_articles(BBC_NEWS, workplace.data))

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        seed = SEED if workplace.seed is None else workplace.seed
        epochs = 1 if workplace.dry_run else workplace.epochs or EPOCHS
        train, validation = load_articles(BBC_NEWS, workplace.data)
        if workplace.dry_run:
            train = train.take(list(range(0, len(train), len(train) // DRY_ROWS)))
        seeds = range(seed, seed + MEMBERS)
        first = learn(train, validation, epochs, seeds)
        history = mean_history(first.histories)
        # The choices have been made: what is kept learns from the validation articles too.
        networks, words, _ = learn(train.joined(validation), validation, epochs, seeds)
        seconds = time.perf_counter() - start

        graph = to_onnx(networks, words)
        difference = check_parity(networks, graph, validation.texts, words)
        test = load_test_articles(BBC_NEWS, workplace.data)
        reached = accuracies(graph, test)
        predicted = export.run(graph, np.array(test.texts, object))["probabilities"].argmax(1)
        card = Card(
            name=self.name,
            title=self.title,
            description=f"TF-IDF of {len(words):,} words → {' → '.join(map(str, HIDDEN))} → {len(BBC_NEWS.labels)}, "
            f"ReLU between: {MEMBERS} such networks, the mean of their logits. Text goes in: it is taken apart in the "
            "graph.",
            task="classification",
            input=self.takes(),
            outputs=OUTPUTS,
            told=["words", "word_weights"],
            notes=[
                f"{TEST_SHARE:.0%} of each topic are held out. The collection has articles twice, and again with a new "
                f"beginning: articles that have a sentence of {SENTENCE_WORDS} words or more in common are on one "
                "side, so that no test article has been seen in training.",
                "A word is two or more Latin letters; digits and all else divide words. The case of A to Z is folded. "
                f"Known are the {len(words):,} words that tell most about the topic, by chi-squared over the training "
                f"articles, of those that {FEWEST_ARTICLES} of them or more have, and at most half.",
                f"{MEMBERS} networks that differ in their seeds, {seeds[0]} to {seeds[-1]}, answer together, because "
                "one alone may be unlucky: mean, spread and the lowest test accuracy of one network say how much.",
                f"validation_accuracy is that of {MEMBERS} networks together, and the history the mean of them, that "
                "learned from the training split alone. Those that are served have learned from both, with the same "
                "settings and seeds.",
                f"first_words_accuracy is that of the headline and what follows it, {FIRST_WORDS} words together.",
                "The articles are of 2004 and 2005 and British: of what has come since the model knows nothing.",
            ],
            labels=list(BBC_NEWS.labels),
            parameters=sum(parameter.numel() for network in networks for parameter in network.parameters()),
            layers=[
                layer.model_copy(update={"name": f"{place}.{layer.name}"})
                for place, network in enumerate(networks, start=1)
                for layer in export.layer_table(network, network, torch.eye(1, len(words)))
            ],
            metrics={
                **reached,
                **one_by_one(networks, words, test),
                "validation_accuracy": together(first.networks, first.words, validation),
                "onnx_max_difference": difference,
            },
            floor=self.floor,
            dataset=dataset_facts(BBC_NEWS, len(train), len(validation), len(test)),
            training=training_facts(
                self.name,
                workplace,
                f"AdamW, one cycle; dropout {WORD_DROPOUT} of words, {DROPOUT} of hidden units",
                epochs,
                seconds,
                seed=seed,
                batch_size=BATCH,
                learning_rate=LEARNING_RATE,
                weight_decay=WEIGHT_DECAY,
                augmentation=f"half of the articles as an excerpt of {SHORTEST_EXCERPT} words or more; an empty text "
                "in each batch, of any topic",
                device="cpu",
                history=history,
            ),
        )
        pictures = {
            "training": figures.learning_curves(history, self.floor["test_accuracy"]),
            "confusion": figures.confusion_matrix(test.labels.numpy(), predicted, BBC_NEWS.labels, "articles"),
            "mistakes": figures.wrong_articles(
                wrong_articles(graph, test),
                f"Mistakes on {len(test)} test articles, the most confident first, with the words that spoke for them",
            ),
            "words": figures.words_by_topic(
                heaviest_words(networks, test, words),
                "what a word adds to its topic's logit, above the mean of all: mean over the test articles",
            ),
        }
        return Trained(graph, card, golden_rows(networks, words), pictures)


SYSTEMS: Sequence[News] = (News(),)
