"""Tokenizers of folders, however they are spelled, against transformers' own from the same folder; what is refused."""
import functools
import json
import unicodedata
from pathlib import Path

import pytest
from corpora import need
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizer

from npukit.corpus import wordpiece
from npukit.errors import UserError

TINY = Path(__file__).parents[4] / "data" / "tiny"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OWN = [
    "The ACTING was Superb, a Café in PARIS", "Ångström und Zürich: Größe, naïve façade, señor, Łódź, Đặng Văn Ngữ",
    "İstanbul, ΑΘΗΝΑ ς, ЁЛКА й, ﬁne ½ ｆｕｌｌ", "e\u0301 cafe\u0301 \u00ad soft \u200b zero\u2028line \ufeff \x07 \ufffd",
    "中国 China 中国人 ABC中文café", "한국어 カタカナ ひらがな", "[SEP] [sep] a[SEP]b [MASK]s [UNK] ##ing ...",
    "x" * 101, " ", "", "1,000.50$ it's don't U.S.-led (AFC) “quoted” – dash"]


# --- Texts, and a vocabulary that knows them in every case, with accents and without


def lines_of(path):
    """Return the texts of a corpus, as many as tests take."""
    text = path.read_text(encoding="utf-8")
    if path.name.startswith("dev-v1.1"):
        paragraphs = [p for article in json.loads(text)["data"] for p in article["paragraphs"]]
        texts = [text for p in paragraphs for text in (p["context"], *(qa["question"] for qa in p["qas"]))]
    elif path.suffix == ".json":
        texts = [json.loads(line)["text"] for line in text.splitlines()]
    else:
        texts = [line.replace("\t", " ") for line in text.split("\n") if line.strip()]
    return texts[::max(1, len(texts) // 300)]


@functools.cache
def shipped():
    files = ("bert_base_sst2/dev.tsv", "bert_large_ner/test.txt", "spanbert/dev-v1.1.json", "bilstm_crf/dev.json")
    return [*OWN, *(text for file in files for text in lines_of(TINY / file))]


def without_accents(text):
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


def vocabulary_of(texts):
    """Return pieces: most letters, and two thirds of the words, as they stand and otherwise spelled."""
    forms = [form for text in texts for one in (text, text.lower()) for form in (one, without_accents(one))]
    letters = sorted({letter for form in forms for letter in form if not letter.isspace()} - set("½œ"))
    words = sorted({word for form in forms for word in form.split() if 1 < len(word) < 20} - set(SPECIAL))
    words = [word for number, word in enumerate(words) if number % 3 and not word.startswith("##")]
    return list(dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]))


@functools.cache
def pieces():
    return vocabulary_of(shipped())


# --- Folders


def write(folder, vocabulary=None, whole=None, config=None, **more):
    """Write a folder: vocab.txt, tokenizer.json, tokenizer_config.json and further JSON files by their names."""
    for old in folder.iterdir():
        old.unlink()
    if vocabulary is not None:
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary), encoding="utf-8")
    files = {"tokenizer": whole, "tokenizer_config": config, "config": {"model_type": "bert"}, **more}
    for name, content in files.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def whole_of(vocabulary, **settings):
    """Return a tokenizer.json as transformers writes it."""
    tokenizer = BertTokenizer({piece: n for n, piece in enumerate(vocabulary)}, **settings)
    return json.loads(tokenizer.backend_tokenizer.to_str())


def compare(folder, texts):
    """Compare a folder's ids with those of transformers' tokenizer, text by text, in whole and as words."""
    ours, theirs = wordpiece.load(folder), AutoTokenizer.from_pretrained(folder)
    assert ours.get_vocab() == theirs.get_vocab()
    texts = list(texts)
    for text, encoded in zip(texts, ours.encode_batch(texts)):
        assert encoded.ids == theirs(text)["input_ids"], text
    for words in [text.split() for text in texts if text.strip()][:100]:
        encoded, expected = ours.encode(words, is_pretokenized=True), theirs(words, is_split_into_words=True)
        assert (encoded.ids, encoded.word_ids) == (expected["input_ids"], expected.word_ids())
    return ours


SETTINGS = {
    "nothing is said": {},
    "cased": {"do_lower_case": False},
    "uncased": {"do_lower_case": True, "strip_accents": None},
    "accents stripped, case kept": {"do_lower_case": False, "strip_accents": True},
    "accents kept, lower case": {"do_lower_case": True, "strip_accents": False},
    "Chinese together": {"tokenize_chinese_chars": False},
    "Chinese together, cased": {"tokenize_chinese_chars": False, "do_lower_case": False},
    "Chinese apart": {"tokenize_chinese_chars": True, "do_lower_case": False},
}
NAMES = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}


def token(content, **flags):
    """Return a token as files spell it out."""
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    return {"content": content, **plain, **flags}


def spelled(spelling, vocabulary, said):
    """Return the files of a folder that says the settings."""
    if spelling == "vocab.txt and tokenizer_config.json":
        return {"vocabulary": vocabulary, "config": said}
    if spelling == "tokenizer.json and tokenizer_config.json":
        return {"whole": whole_of(vocabulary, **said), "config": said}
    config = {**said, "tokenizer_class": "BertTokenizer", "model_max_length": 512, **NAMES,
              "mask_token": {"__type": "AddedToken", **token("[MASK]", lstrip=True)}}
    whole = whole_of(vocabulary, **said)
    return {"vocabulary": vocabulary, "whole": whole, "config": config, "special_tokens_map": NAMES}


SPELLINGS = ["vocab.txt and tokenizer_config.json", "tokenizer.json and tokenizer_config.json", "both"]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("said", SETTINGS)
def test_the_ids_are_those_of_transformers(tmp_path, said, spelling):
    compare(write(tmp_path, **spelled(spelling, pieces(), SETTINGS[said])), shipped())


@pytest.mark.parametrize("files", [("vocabulary",), ("whole",), ("vocabulary", "whole")], ids=str)
def test_what_holds_where_no_file_says_it(tmp_path, files):
    there = {"vocabulary": pieces(), "whole": whole_of(pieces())}
    tokenizer = compare(write(tmp_path, **{name: there[name] for name in files}), shipped())
    assert tokenizer.normalizer.lowercase and "café" not in tokenizer.encode("CAFÉ").tokens


@pytest.mark.parametrize("said", SETTINGS)
def test_what_transformers_has_saved(tmp_path, said):
    BertTokenizer({piece: n for n, piece in enumerate(pieces())}, **SETTINGS[said]).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    compare(tmp_path, shipped())


def test_settings_change_the_ids(tmp_path):
    """Were they all alike, the comparisons above would compare nothing."""
    tokenizers = {said: wordpiece.load(write(tmp_path, pieces(), config=SETTINGS[said])) for said in SETTINGS}
    made = {said: [tuple(encoded.ids) for encoded in one.encode_batch(OWN)] for said, one in tokenizers.items()}
    assert made.pop("nothing is said") == made["uncased"] and made["cased"] == made.pop("Chinese apart")
    assert len({tuple(ids) for ids in made.values()}) == len(made)


CORPORA = ["sst2/dev.tsv", "squad/dev-v1.1.json", "cluener/dev.json", "lm1b/news.en.heldout-00000-of-00050"]


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_released_corpora(tmp_path, corpus):
    texts = lines_of(need(corpus))
    assert len(texts) >= 300
    vocabulary = vocabulary_of(texts[::2])
    for said in SETTINGS.values():
        compare(write(tmp_path, vocabulary, config=said), texts)


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("released", ["bert-base-cased", "bert-large-NER"])
def test_the_released_tokenizers(tmp_path, released, corpus):
    tokenizer = compare(need(f"tokenizers/{released}/vocab.txt").parent, lines_of(need(corpus)))
    assert tokenizer.get_vocab_size() == 28996


@settings(deadline=None, max_examples=150)
@given(text=st.text(max_size=40) | st.text(st.sampled_from("aAéÉe\u0301中国İßſKÅ [](),.'\u3000\u200b한カ"), max_size=40),
       said=st.sampled_from(sorted(SETTINGS)))
def test_any_text(loaded, text, said):
    ours, theirs = loaded[said]
    assert ours.encode(text).ids == theirs(text)["input_ids"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """{settings: (our tokenizer, transformers')}."""
    folders = {said: write(tmp_path_factory.mktemp("tokenizer"), pieces(), config=SETTINGS[said]) for said in SETTINGS}
    return {said: (wordpiece.load(folder), AutoTokenizer.from_pretrained(folder)) for said, folder in folders.items()}


# --- Added tokens, and what is read and cuts nothing


SMALL = [*SPECIAL, "the", "acting", "was", "cafe", "a", "ACTING", "The", "中", "国", "中国", "[unused1]"]
SENTENCES = ["The ACTING was Café 中国", "the <ent> acting [unused1] was <ENT>a", "[sep] [SEP] a[MASK] [mask]",
             "ACTINGwas the"]
FURTHER = {"3": token("[SEP]", normalized=True), "9": token("a", single_word=True), "15": token("[unused1]"),
           "16": token("<ent>", normalized=True, special=False)}


@pytest.mark.parametrize("tokens", [["9"], ["15"], ["15", "16"], ["3"], ["3", "9", "15", "16"]], ids=" ".join)
@pytest.mark.parametrize("lower", [False, True])
def test_added_tokens(tmp_path, tokens, lower):
    decoder = {number: FURTHER[number] for number in tokens}
    listed = [{"id": int(number), **entry} for number, entry in decoder.items()]
    config, whole = {"do_lower_case": lower}, {**whole_of(SMALL, do_lower_case=lower), "added_tokens": listed}
    named = {"additional_special_tokens": [entry["content"] for number, entry in decoder.items() if number != "3"]}
    for folder in (dict(vocabulary=SMALL, config={**config, "added_tokens_decoder": decoder}),
                   dict(vocabulary=SMALL, whole=whole, config={**config, "added_tokens_decoder": decoder, **named}),
                   dict(whole=whole, config=config, added_tokens={"<ent>": 16} if "16" in tokens else None),
                   dict(whole=whole, config={**config, "bos_token": listed[-1]["content"], "eos_token": None})):
        tokenizer = compare(write(tmp_path, **folder), SENTENCES)
        assert tokenizer.get_vocab_size() == len(SMALL) + ("16" in tokens)


@pytest.mark.parametrize("flags", [{}, {"normalized": True}, {"lstrip": True}, {"single_word": True}], ids=str)
def test_special_tokens_with_flags(tmp_path, flags):
    tokens = {key: token(name, **flags) for key, name in NAMES.items()}
    compare(write(tmp_path, SMALL, special_tokens_map=tokens), SENTENCES)
    config = {key: {"__type": "AddedToken", **value} for key, value in tokens.items()}
    compare(write(tmp_path, SMALL, config=config), SENTENCES)


def test_nothing_is_cut_nor_filled_up(tmp_path):
    whole = whole_of(SMALL)
    whole["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    whole["padding"] = {**PADDED, "strategy": {"Fixed": 30}, "direction": "Right"}
    tokenizer = compare(write(tmp_path, whole=whole, config={"model_max_length": 5}), SENTENCES)
    assert len(tokenizer.encode("the " * 600).ids) == 602


def test_without_a_post_processor_it_is_added(tmp_path):
    tokenizer = compare(write(tmp_path, whole={**whole_of(SMALL), "post_processor": None}), SENTENCES)
    assert tokenizer.encode("the").tokens == ["[CLS]", "the", "[SEP]"]


def test_an_older_tokenizer_json(tmp_path):
    """Written before its model named its kind, with BertProcessing, and with strip_accents spelled out."""
    whole = whole_of(SMALL)
    del whole["model"]["type"]
    whole["normalizer"]["strip_accents"] = True
    whole["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    compare(write(tmp_path, whole=whole), SENTENCES)


def test_a_distilberts_tokenizer_is_the_same(tmp_path):
    config = {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False}
    compare(write(tmp_path, SMALL, config=config), SENTENCES)


# --- What is refused


NOT_TAKEN = [  # a key of tokenizer_config.json, a value, and what is expected
    ("tokenizer_class", "RobertaTokenizer", f'null or {" or ".join(map(json.dumps, wordpiece.CLASSES))}'),
    ("tokenizer_class", "PreTrainedTokenizerFast", 'null or "BertTokenizer" or '),
    ("auto_map", {"AutoTokenizer": ["a.B", None]}, "null"), ("word_tokenizer_type", "mecab", 'null or "basic"'),
    ("subword_tokenizer_type", "character", 'null or "wordpiece"'), ("do_basic_tokenize", False, "true"),
    ("never_split", ["U.S."], "null or []"), ("clean_text", False, "true"), ("wordpieces_prefix", "@@", '"##"'),
    ("split_special_tokens", True, "false"), ("padding_side", "left", '"right"'), ("init_inputs", [1], "[]"),
    ("do_lower_case", "false", "true or false"), ("do_lower_case", 0, "true or false"),
    ("do_lower_case", None, "true or false"), ("tokenize_chinese_chars", None, "true or false"),
    ("strip_accents", 1, "null or true or false"), ("cls_token", "<s>", '"[CLS]"'), ("mask_token", None, '"[MASK]"')]


@pytest.mark.parametrize("key, found, expected", NOT_TAKEN, ids=map(str, range(len(NOT_TAKEN))))
def test_a_setting_that_is_not_done_is_refused(tmp_path, key, found, expected):
    write(tmp_path, SMALL, config={key: found})
    with pytest.raises(UserError) as caught:
        wordpiece.load(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    assert str(caught.value).startswith(f"{path}: {key} is {json.dumps(found)}, expected {expected}")
    assert str(caught.value).endswith("; correct it, or name another folder")


def changed(**parts):
    return {"whole": {**whole_of(SMALL), **parts}}


def model(**values):
    return changed(model={**whole_of(SMALL)["model"], **values})


def two_minds(said=None, **saved):
    return {"whole": whole_of(SMALL, **saved), "config": said}


def decoder(number, *tokens):
    return {"added_tokens_decoder": {number: token(*tokens)}}


PADDED = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
          "pad_token": "[PAD]"}
ROBERTA = {"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[MASK]", 4], "trim_offsets": True,
           "add_prefix_space": True}
JAPANESE = {"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"}
WITH_GAP = {**{piece: number for number, piece in enumerate(SMALL)}, "x": 99}
UNUSED = changed(added_tokens=[{"id": 15, **token("[unused1]")}])
REFUSED = {  # what is wrong: the folder, beside which there is vocab.txt if it has no vocabulary, and the reason
    "another tokenizer, named by the model":
        ({"model": JAPANESE}, '/config.json: tokenizer_class is "BertJapaneseTokenizer", expected null or '),
    "another [SEP], spelled out":
        ({"special_tokens_map": {"sep_token": token("a")}},
         'special_tokens_map.json: sep_token is "a", expected "[SEP]"'),
    "a further token without its id":
        ({"special_tokens_map": {"additional_special_tokens": ["<ent>"]}},
         "special_tokens_map.json: the token '<ent>' is not in added_tokens_decoder of"),
    "another kind of token": ({"config": {"eod_token": "<ent>"}}, "tokenizer_config.json: the token '<ent>' is not in"),
    "added tokens without flags": ({"added_tokens": {"[MASK]": 4}}, "added_tokens.json: the token '[MASK]' is not in"),
    "added tokens that one file lacks":
        ({**UNUSED, "config": decoder("3", "[SEP]")}, "tokenizer.json: the token '[unused1]' is not in"),
    "an added token elsewhere":
        ({"config": decoder("20", "<ent>")}, "the added token '<ent>' has the id 20, expected 16, its place in the"),
    "an added token with two ids":
        ({"config": decoder("16", "<ent>"), "added_tokens": {"<ent>": 17}}, "'<ent>' has the id 17, expected 16"),
    "case of two minds":
        (two_minds({"do_lower_case": False}),
         "tokenizer.json: normalizer.lowercase is true, expected false by do_lower_case of tokenizer_config.json, or "
         "by what holds where it is silent; make them agree"),
    "cased, which transformers would overlook":
        (two_minds(do_lower_case=False),
         "tokenizer.json: normalizer.lowercase is false, expected true by do_lower_case of tokenizer_config.json"),
    "accents of two minds":
        (two_minds({"do_lower_case": True}, strip_accents=False),
         "tokenizer.json: normalizer.strip_accents is false, expected true by strip_accents of tokenizer_config.json"),
    "Chinese of two minds":
        (two_minds(tokenize_chinese_chars=False),
         "tokenizer.json: normalizer.handle_chinese_chars is false, expected true by tokenize_chinese_chars of"),
    "no normalizer": (changed(normalizer=None), "tokenizer.json: normalizer.clean_text is null, expected true"),
    "words at blanks":
        (changed(pre_tokenizer={"type": "WhitespaceSplit"}),
         'tokenizer.json: pre_tokenizer.type is "WhitespaceSplit", expected "BertPreTokenizer"'),
    "no words": (changed(pre_tokenizer=None), 'pre_tokenizer.type is null, expected "BertPreTokenizer"'),
    "short words alone": (model(max_input_chars_per_word=9), "model.max_input_chars_per_word is 9, expected 100"),
    "another model": (model(type="BPE", merges=[]), 'tokenizer.json: model.type is "BPE", expected "WordPiece"'),
    "another [CLS] around a text":
        (changed(post_processor=ROBERTA), "tokenizer.json: post_processor does not put [CLS] and [SEP] around a text"),
    "padding on the left":
        (changed(padding=PADDED), 'tokenizer.json: padding.direction is "left", expected "right"'),
    "a piece twice": ({"vocabulary": [*SMALL, "the"]}, "vocab.txt holds 'the' twice; every piece has one id"),
    "an id left out": (model(vocab=WITH_GAP), "tokenizer.json: model.vocab does not give every piece one id"),
    "two vocabularies":
        ({"vocabulary": [*SMALL, "more"], **changed()}, "tokenizer.json: model.vocab and vocab.txt differ in 'more'"),
    "no special tokens": ({"vocabulary": SMALL[:3]}, "vocab.txt holds no tokenizer: [SEP] [MASK] missing"),
    "no object": ({"config": []}, "holds no tokenizer: tokenizer_config.json is no JSON object"),
    "nonsense for a token": ({"config": {"added_tokens_decoder": {"16": 3}}}, "holds no tokenizer: "),
    "nothing whole": ({"vocabulary": SMALL, "whole": {}}, "holds no tokenizer: "),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_folder_that_is_not_sound_is_refused(tmp_path, wrong):
    folder, reason = dict(REFUSED[wrong][0]), REFUSED[wrong][1]
    named_by = folder.pop("model", None)
    write(tmp_path, **{**({} if "whole" in folder else {"vocabulary": SMALL}), **folder})
    if named_by:
        (tmp_path / "config.json").write_text(json.dumps(named_by))
    with pytest.raises(UserError) as caught:
        wordpiece.load(tmp_path)
    assert reason in str(caught.value) and str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


def maybe(*values):
    return st.sampled_from([*values, *[None] * len(values)])


DECODERS = st.lists(st.sampled_from(sorted(FURTHER)), unique=True).map(lambda ns: {n: FURTHER[n] for n in ns})
SWITCHES = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
SAID = st.fixed_dictionaries({}, optional={
    **{key: st.booleans() for key in SWITCHES}, "model_max_length": st.just(4),
    "tokenizer_class": st.sampled_from(["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer"]),
    "mask_token": st.sampled_from(["[MASK]", {"__type": "AddedToken", **token("[MASK]", single_word=True)}]),
    "additional_special_tokens": st.sampled_from([[], ["[unused1]"], ["<ent>"]]),
    "bos_token": st.sampled_from([None, "a"]), "added_tokens_decoder": DECODERS})
NORMALIZERS = maybe({}, {"lowercase": False}, {"strip_accents": True}, {"handle_chinese_chars": False})


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.none() | SAID, lines=st.booleans(), normalizer=NORMALIZERS, as_said=st.booleans(), listed=DECODERS,
       names=maybe({"sep_token": token("[SEP]", normalized=True)}), added=maybe({"[MASK]": 4}, {"<ent>": 16}))
def test_whatever_a_folder_says_is_honoured_or_refused(
        tmp_path, said, lines, normalizer, as_said, listed, names, added):
    whole = None
    if normalizer is not None or not lines:
        whole = whole_of(SMALL, **{key: said[key] for key in SWITCHES if as_said and said and key in said})
        whole["normalizer"] |= {} if as_said else normalizer or {}
        whole["added_tokens"] = [{"id": int(number), **listed[number]} for number in sorted(listed, key=int)]
    write(tmp_path, SMALL if lines else None, whole, said, special_tokens_map=names, added_tokens=added)
    try:
        wordpiece.load(tmp_path)
    except UserError as error:
        assert "\n" not in str(error) and str(error).startswith(str(tmp_path)), "one sentence that names the folder"
        return
    compare(tmp_path, SENTENCES)


def test_the_default_may_be_another(tmp_path):
    write(tmp_path, SMALL)
    assert wordpiece.load(tmp_path, lower_case=False).encode("The ACTING").tokens[1:-1] == ["The", "ACTING"]
    write(tmp_path, SMALL, config={"do_lower_case": True})
    assert wordpiece.load(tmp_path, lower_case=False).encode("The ACTING").tokens[1:-1] == ["the", "acting"]


def test_no_tokenizer_at_all(tmp_path):
    reason = r"holds neither vocab\.txt nor tokenizer\.json; --model is a Hugging Face directory"
    with pytest.raises(UserError, match=reason):
        wordpiece.load(tmp_path, "--model")


@pytest.mark.parametrize("text, share", [
    ("the cafe was", 0), ("the acting was odd", 1 / 4), ("odd", 1), ("the [PAD] [SEP] odd", 1 / 2)])
def test_the_share_of_unknown_pieces(tmp_path, text, share):
    tokenizer = wordpiece.load(write(tmp_path, SMALL))
    assert wordpiece.unknown_share(tokenizer, [tokenizer.encode(text).ids] * 2) == share
    assert wordpiece.unknown_share(tokenizer, [[2, 3, 0]]) == 0, "a text of nothing else lacks nothing"
