"""Word pieces: the tokenizer of a Hugging Face directory that holds a BERT.

What the folder's files say is done as transformers does it, or the folder is refused. transformers itself is not asked:
its import takes seconds, and where two files contradict each other it silently follows one. Tests compare the two.
"""
import collections
import itertools
import json
from collections.abc import Iterable
from pathlib import Path

from npukit.errors import UserError
from npukit.files import looked_at

LONGEST = 512  # word pieces, the positions that BERT has

LINES, WHOLE, CONFIG = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
MAP, ADDED = "special_tokens_map.json", "added_tokens.json"
SPECIAL = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "CLS", "SEP", "PAD", "MASK")}
CLASSES = ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")  # one and the same
TAKEN = {  # a setting: the values that are taken
    "do_lower_case": (True, False), "strip_accents": (None, True, False), "tokenize_chinese_chars": (True, False),
    # Other values of these would make other pieces, and are not done.
    "tokenizer_class": (None, *CLASSES), "auto_map": (None,), "init_inputs": ([],),
    "do_basic_tokenize": (True,), "never_split": (None, []), "clean_text": (True,), "wordpieces_prefix": ("##",),
    "word_tokenizer_type": (None, "basic"), "subword_tokenizer_type": (None, "wordpiece"),
    "split_special_tokens": (False,), "padding_side": ("right",), **{key: (name,) for key, name in SPECIAL.items()}}
SPELLED = {  # what tokenizer_config.json calls the settings of tokenizer.json
    "normalizer.lowercase": "do_lower_case", "normalizer.strip_accents": "strip_accents",
    "normalizer.handle_chinese_chars": "tokenize_chinese_chars"}


def load(folder: Path, flag: str = "--tokenizer_path", lower_case: bool = True):
    """Return the folder's tokenizer, a tokenizers.Tokenizer: [CLS] and [SEP] around a text, nothing cut or filled up.

    flag        that named the folder, for the message
    lower_case  what holds where tokenizer_config.json does not say do_lower_case: true, as in transformers
    reads       vocab.txt or tokenizer.json   the vocabulary; where both are there they agree
                tokenizer_config.json   do_lower_case, strip_accents (null: as do_lower_case), tokenize_chinese_chars,
                                        added_tokens_decoder; model_max_length cuts nothing, as nobody asks it to
                tokenizer.json          has to say the same. Its truncation and padding are not done; where it has no
                                        post-processor [CLS] and [SEP] are added, as by transformers
                special_tokens_map.json, added_tokens.json, tokenizer_class in config.json   have to say the same
    raises      UserError, naming file and key, for a folder without a BERT's tokenizer, or that asks for what is not
                done here
    """
    looked_at(*(folder / name for name in (LINES, WHOLE, CONFIG, MAP, ADDED)))
    if not (folder / LINES).is_file() and not (folder / WHOLE).is_file():
        raise UserError(f"{folder} holds neither {LINES} nor {WHOLE}; {flag} is a Hugging Face directory")
    files = {name: read(folder / name) for name in (WHOLE, CONFIG, MAP, ADDED)}
    model = read(folder / "config.json")
    require_taken(folder / "config.json", only(model, "tokenizer_class"))
    for name in (CONFIG, MAP):
        require_taken(folder / name, files[name])
    try:
        vocabulary = read_vocabulary(folder, files[WHOLE])
        tokenizer = build(vocabulary, {"do_lower_case": lower_case, **files[CONFIG]})
        if (folder / WHOLE).is_file():
            require_same(folder / WHOLE, tokenizer)
        add_tokens(folder, files, tokenizer)
    except UserError:
        raise
    except Exception as error:  # tokenizers raises nothing else, and of nonsense in a file there is no end
        raise UserError(f"{folder} holds no tokenizer: {' '.join(str(error).split())[:300]}") from None
    return tokenizer


def unknown_share(tokenizer, rows: Iterable[list[int]]) -> float:
    """Return which part of the rows' word pieces is [UNK], 0 to 1; [CLS], [SEP] and [PAD] aside."""
    counts = collections.Counter(itertools.chain.from_iterable(rows))
    for name in ("[CLS]", "[SEP]", "[PAD]"):
        del counts[tokenizer.token_to_id(name)]
    return counts[tokenizer.token_to_id("[UNK]")] / max(1, counts.total())


def read(path: Path) -> dict:
    """Return a JSON object; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.parent} holds no tokenizer: {path.name} is not whole JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path.parent} holds no tokenizer: {path.name} is no JSON object; take the model's own")
    return value


def only(values: dict, *keys: str) -> dict:
    return {key: values[key] for key in keys if key in values}


def require_taken(path: Path, values: dict) -> None:
    """Raise UserError for a setting whose value is not taken; a token may be spelled out, with its flags."""
    for key, value in only(values, *TAKEN).items():
        spelled_out = key in SPECIAL and isinstance(value, dict)
        found, taken = value.get("content") if spelled_out else value, [json.dumps(each) for each in TAKEN[key]]
        if json.dumps(found) not in taken:
            raise UserError(f"{path}: {key} is {shown(found)}, expected {' or '.join(taken)}; "
                            "correct it, or name another folder")


def shown(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def read_vocabulary(folder: Path, whole: dict) -> dict[str, int]:
    """Return {piece: id}; raise UserError for one that is no BERT's, a piece that is there twice, files that differ."""
    vocabularies = {}
    if (folder / LINES).is_file():
        vocabularies[folder / LINES] = read_lines(folder / LINES)
    if (folder / WHOLE).is_file():
        model = whole["model"]
        if (kind := model.get("type", "WordPiece")) != "WordPiece":
            raise UserError(f'{folder / WHOLE}: model.type is {shown(kind)}, expected "WordPiece"; it is no BERT\'s')
        vocabularies[folder / WHOLE] = model["vocab"]
    path, vocabulary = next(iter(vocabularies.items()))
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise UserError(f"{path}: model.vocab does not give every piece one id, from 0 on; take the model's own")
    for other in vocabularies.values():
        if other != vocabulary:
            piece = min(set(vocabulary.items()) ^ set(other.items()))[0]
            raise UserError(f"{folder / WHOLE}: model.vocab and {LINES} differ in {piece!r}; remove the wrong one")
    if missing := [name for name in SPECIAL.values() if name not in vocabulary]:
        raise UserError(f"{path} holds no tokenizer: {' '.join(missing)} missing; a BERT's vocabulary is expected")
    return vocabulary


def read_lines(path: Path) -> dict[str, int]:
    """Return {piece: id} of a vocab.txt; raise UserError for a piece that stands there twice."""
    from tokenizers.models import WordPiece

    vocabulary = WordPiece.read_file(str(path))
    with open(path, encoding="utf-8", newline="\n") as file:
        pieces = collections.Counter(line.rstrip() for line in file)
    if len(vocabulary) < pieces.total():
        raise UserError(f"{path} holds {pieces.most_common(1)[0][0]!r} twice; every piece has one id")
    return vocabulary


def build(vocabulary: dict[str, int], settings: dict):
    """Return the tokenizer that transformers' BertTokenizer makes of these settings, still without added tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=settings["do_lower_case"], strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(*((name, vocabulary[name]) for name in ("[SEP]", "[CLS]")))
    return tokenizer


def require_same(path: Path, tokenizer) -> None:
    """Raise UserError where a tokenizer.json makes other pieces than the tokenizer."""
    from tokenizers import Tokenizer

    whole = Tokenizer.from_file(str(path))
    if whole.padding and whole.padding["direction"] != "right":
        raise UserError(f'{path}: padding.direction is "{whole.padding["direction"]}", expected "right"; correct it')
    theirs, ours = settings_of(whole), settings_of(tokenizer)
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            source = f" by {SPELLED[key]} of {CONFIG}, or by what holds where it is silent" if key in SPELLED else ""
            raise UserError(f"{path}: {key} is {shown(theirs.get(key))}, expected {shown(ours.get(key))}{source}; "
                            "make them agree")
    whole.no_truncation()
    whole.no_padding()
    plain = tokenizer.encode("a", add_special_tokens=False)
    if whole.post_processor and whole.post_process(plain).ids != tokenizer.post_process(plain).ids:
        raise UserError(f"{path}: post_processor does not put [CLS] and [SEP] around a text; remove it, and it is done")


def settings_of(tokenizer) -> dict:
    """Return what decides the pieces beside vocabulary and added tokens, as {"normalizer.lowercase": True, ...}."""
    parts = json.loads(tokenizer.to_str())
    del parts["model"]["vocab"]
    normalizer = parts["normalizer"] or {}
    if normalizer.get("strip_accents", True) is None:
        normalizer["strip_accents"] = normalizer["lowercase"]
    return {f"{part}.{key}": value for part in ("model", "normalizer", "pre_tokenizer")
            for key, value in (parts[part] or {}).items()}


def add_tokens(folder: Path, files: dict[str, dict], tokenizer) -> None:
    """Add BERT's special tokens and those that the folder adds: where a text has one, it is one piece as it stands.

    The list of these is added_tokens_decoder of tokenizer_config.json or, where there is none, added_tokens of
    tokenizer.json, as in transformers; other files name no token that is not in the list.
    raises  UserError for a token that is not in the list, or whose id is not its place in the vocabulary
    """
    from tokenizers import AddedToken

    decoder = files[CONFIG].get("added_tokens_decoder")
    whole = {token["content"]: token for token in files[WHOLE].get("added_tokens", [])}
    listed = whole if decoder is None else {
        token["content"]: {**token, "id": int(number)} for number, token in decoder.items()}
    named = {CONFIG: named_tokens(files[CONFIG]), MAP: named_tokens(files[MAP]), ADDED: files[ADDED], WHOLE: whole}
    if stray := [(name, token) for name, tokens in named.items() for token in tokens if token not in listed]:
        name, token = stray[0]
        raise UserError(f"{folder / name}: the token {token!r} is not in added_tokens_decoder of {CONFIG} nor, where "
                        f"there is none, in added_tokens of {WHOLE}, whence it is taken; add it there, or remove it")
    tokens = {name: {"content": name, "special": True} for name in SPECIAL.values()}
    for values in (files[CONFIG], files[MAP] if decoder is None else {}):
        tokens |= {value["content"]: value for value in only(values, *SPECIAL).values() if isinstance(value, dict)}
    for token in sorted((tokens | listed).values(), key=lambda token: token.get("id", 0)):
        added = AddedToken(**{key: value for key, value in token.items() if key not in ("id", "__type")})
        added.special |= added.content in tokens
        tokenizer.add_tokens([added])
        place = tokenizer.token_to_id(added.content)
        for number in (token.get("id", place), files[ADDED].get(added.content, place)):
            if number != place:
                raise UserError(f"{folder}: the added token {added.content!r} has the id {number}, expected {place}, "
                                f"its place in the vocabulary; correct it in {CONFIG}, {ADDED} or {WHOLE}")


def named_tokens(values: dict) -> list[str]:
    """Return the tokens beside BERT's own that the settings name: bos_token and its like, and lists of further ones."""
    found = [value for key, value in values.items() if key.endswith("_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        further = values.get(key) or []
        found += further.values() if isinstance(further, dict) else further
    contents = (value.get("content") if isinstance(value, dict) else value for value in found)
    return [content for content in contents if isinstance(content, str) and content not in SPECIAL.values()]
