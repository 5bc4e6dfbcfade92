import pytest

from whence.config import Config, ModelConfig, SamplerConfig, TrainingConfig, read_config
from whence.errors import ConfigError

BAD = {
    "unknown section": ("[nope]\na = 1", "nope"),
    "unknown key": ("[training]\nstepz = 1", "stepz"),
    "key outside its section": ("steps = 3", "steps"),
    "section that is no table": ("training = 3", "training"),
    "text for a number": ("[training]\nsteps = 'abc'", "steps.*'abc'"),
    "fraction for a count": ("[training]\nsteps = 1.5", "steps.*1.5"),
    "zero steps": ("[training]\nsteps = 0", "steps.*greater than or equal to 1.*0"),
    "negative batch": ("[sampler]\nbatch_size = -1", "batch_size.*-1"),
    "nan rate": ("[training]\nlearning_rate = nan", "learning_rate.*nan"),
    "ema of one": ("[training]\nema = 1.0", "ema.*less than 1"),
    "one beta": ("[training]\nbetas = [0.9]", "betas"),
    "no channel": ("[model]\nchannels = [8, 0]", "channels"),
    "one timestep": ("[model]\ntimesteps = 1", "timesteps"),
    "unknown prediction": (
        "[model]\nprediction = 'x0'",
        "prediction.*'epsilon', 'v_prediction', 'sample' or 'flow_prediction'",
    ),
    "unknown method": ("[sampler]\nmethod = 'heun'", "method.*'ddpm', 'ddim' or 'euler'"),
    "yes for a rate": ("[training]\nlearning_rate = true", "learning_rate: expected a number .*True"),
    "text for a warm-up": ("[training]\nwarmup = '7'", "warmup: expected a whole number .*'7'"),
    "yes for a side": ("[model]\nattention = true", "attention: expected a whole number .*True"),
    "text for yes or no": ("[training]\nflip = 'no'", "flip: expected true or false .*'no'"),
    "text for a clip": ("[sampler]\nclip = 'no'", "clip: expected true or false"),
    "no channels": ("[model]\nchannels = []", r"channels: expected a list with 1 values or more \(given: \[\]"),
    "a number for channels": ("[model]\nchannels = 8", r"channels: expected a list such as \[64, 128\] \(given: 8"),
    "a number for betas": ("[training]\nbetas = 0.9", r"betas: expected a list such as \[0.9, 0.99\]"),
    "infinite decay": ("[training]\nweight_decay = inf", "weight_decay: expected a finite number"),
    "infinite norm": ("[training]\nclip_norm = inf", "clip_norm: expected a finite number"),
    "infinite rate": ("[training]\nlearning_rate = inf", "learning_rate: expected a finite number"),
    "many timesteps": ("[model]\ntimesteps = 1000000", "timesteps: must be less than or equal to 100000"),
    "a similar name": ("[training]\nstep = 3", "training.step is unknown; did you mean steps"),
    "a name of another section": ("[model]\nclip_norm = 3", "model.clip_norm is unknown; there are channels"),
    "a name without its section": ("ema = 0.5", "ema is unknown; did you mean training.ema"),
    "a list for a section": ("training = [1]", r"training: expected a table such as \[training\]"),
    "not TOML": ("[training", "not a readable TOML file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name(tmp_path, name):
    text, message = BAD[name]
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("section", ["model", "training", "sampler"])
def test_the_message_names_the_section(tmp_path, section):
    file = tmp_path / "c.toml"
    file.write_text(f"[{section}]\nbogus = 1")
    with pytest.raises(ConfigError, match=rf"{section}\.bogus"):
        read_config(file)


def test_bytes_that_are_not_text(tmp_path):
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a readable TOML file"):
        read_config(file)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbf[training]\nsteps = 3\n")
    assert read_config(file).training.steps == 3


def test_lists_stand_for_tuples_and_whole_numbers_for_numbers():
    config = Config(model={"channels": [8, 16]}, training={"learning_rate": 1, "betas": [0, 0.5]})
    assert config.model.channels == (8, 16)
    assert config.training.betas == (0.0, 0.5)
    assert type(config.training.learning_rate) is float


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"configuration file .*c.toml does not exist"):
        read_config(tmp_path / "c.toml")


def test_a_directory(tmp_path):
    with pytest.raises(ConfigError, match="not a readable TOML file"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(model=ModelConfig(channels=(8, 16), attention=0, prediction="epsilon")),
        Config(training=TrainingConfig(steps=3, checkpoints=0, betas=(0.5, 0.25), learning_rate=1e-7)),
        Config(sampler=SamplerConfig(method="ddim", clip=False)),
    ],
)
def test_toml_round_trip(tmp_path, config):
    file = tmp_path / "c.toml"
    file.write_text(config.to_toml())
    assert read_config(file) == config
    assert Config(**config.record()) == config


def test_no_file_gives_the_defaults(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("")
    assert read_config(None) == read_config(file) == Config()


def test_updated_changes_what_is_given_and_nothing_else():
    config = Config(training=TrainingConfig(steps=10, warmup=3))
    changed = config.updated("training", steps=20, batch_size=None)
    assert changed.training == TrainingConfig(steps=20, warmup=3)
    assert (changed.model, changed.sampler) == (config.model, config.sampler)
    assert config.training.steps == 10
    assert config.updated("training") == config


@pytest.mark.parametrize(("values", "message"), [({"steps": 0}, "steps"), ({"bogus": 1}, "bogus")])
def test_updated_checks(values, message):
    with pytest.raises(ConfigError, match=message):
        Config().updated("training", **values)


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        Config().training.steps = 3
