import pytest

from limner.data.split_names import may_tell_split, split_from_names, splits_of


@pytest.mark.parametrize(
    "name",
    [
        "train",
        "TRAIN",
        "Training",
        "TrainDataset",
        "trainset",
        "Train_Data",
        "train_images",
        "TRAINset",
        "imagesTr",
        "trainval",
        "train01",
        "ISIC2018_Task1-2_Training_Input",
    ],
)
def test_names_of_a_training_split_are_known_in_any_form(name: str) -> None:
    assert split_from_names([name]) == "train"


@pytest.mark.parametrize(
    "name",
    [
        "val",
        "valid",
        "Validation_Data",
        "ValSet",
        "valset",
        "val2017",
        "dev",
        "DevSet",
        "devset",
        "development",
        "tuning",
    ],
)
def test_names_of_a_validation_split_are_known_in_any_form(name: str) -> None:
    assert split_from_names([name]) == "val"


@pytest.mark.parametrize(
    "name",
    [
        "test",
        "TestSet",
        "testset",
        "test_A",
        "testB",
        "test2017",
        "TestDataset",
        "Testing_Set",
        "test-images",
        "testimgs",
        "holdout",
        "hold-out",
        "Hold_Out_Set",
        "HeldOut",
        "held_out",
        "unseen",
        "tests",
        "ISIC-2017_Test_v2_Data",
        "eval",
        "evalset",
        "Evaluation",
    ],
)
def test_names_of_a_test_split_are_known_in_any_form(name: str) -> None:
    assert split_from_names([name]) == "test"


@pytest.mark.parametrize(
    "name",
    [
        "images",
        "testis",
        "testes",
        "valve",
        "valves",
        "value",
        "device",
        "developed",
        "latest",
        "contest",
        "ContrastStretch",
        "patient_01",
        "0001TP",
        "holder",
        "trains",
        "attestation",
    ],
)
def test_other_words_are_no_split_and_raise_no_doubt(name: str) -> None:
    assert split_from_names([name]) is None
    assert not may_tell_split(name)


@pytest.mark.parametrize("name", ["Testdaten", "Trainingsdaten", "Validierung", "mytestset"])
def test_names_that_begin_like_a_split_raise_a_doubt(name: str) -> None:
    assert split_from_names([name]) is None
    assert may_tell_split(name)


def test_an_evaluation_set_is_the_test_set_unless_there_is_one() -> None:
    names = {"a": ["train"], "b": ["eval"]}
    assert splits_of(names) == {"a": "train", "b": "test"}
    assert splits_of({**names, "c": ["TestSet"]}) == {"a": "train", "b": "val", "c": "test"}
