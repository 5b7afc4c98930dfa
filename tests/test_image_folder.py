"""What `scan` takes for a class, a photo or neither, and what it says about folders that are no data set."""

from __future__ import annotations

import locale
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_toolkit.core.errors import UserError
from tl_toolkit.datasets.image_folder import ImageFolder, scan

LITTER = {"__macosx", "thumbs.db", "desktop.ini"}


def plant(root: Path, *files: str) -> Path:
    """Create empty files, with their folders; a name that ends in a slash is a folder."""
    root.mkdir(exist_ok=True)
    for file in files:
        path = root / file
        (path if file.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not file.endswith("/"):
            path.touch()
    return root


def complaint(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        scan(root)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert message.endswith(".")
    return message


class TestWhatIsFound:
    def test_classes_photos_and_the_rest(self, tmp_path: Path) -> None:
        root = plant(
            tmp_path / "photos",
            *("dog/b.jpg", "dog/a.PNG", "dog/deep/er/c.webp", "dog/notes.txt", "dog/no_suffix"),
            *("cat/1.jpeg", "cat/2.jfif", "cat/3.jpe", "cat/4.bmp", "cat/5.gif", "cat/6.TIF", "cat/7.tiff"),
            *("loose.jpg", "README.md", "bird/", "fish/list.csv"),
        )
        assert scan(root) == ImageFolder(
            root=root,
            class_names=("cat", "dog"),
            paths=(
                *(
                    "cat/1.jpeg",
                    "cat/2.jfif",
                    "cat/3.jpe",
                    "cat/4.bmp",
                    "cat/5.gif",
                    "cat/6.TIF",
                    "cat/7.tiff",
                ),
                *("dog/a.PNG", "dog/b.jpg", "dog/deep/er/c.webp"),
            ),
            labels=(0,) * 7 + (1,) * 3,
            ignored=("README.md", "dog/no_suffix", "dog/notes.txt", "fish/list.csv", "loose.jpg"),
            empty_classes=("bird", "fish"),
        )

    def test_hidden_and_system_files_are_not_seen(self, tmp_path: Path) -> None:
        root = plant(
            tmp_path / "photos",
            *("a/1.jpg", "a/._1.jpg", "a/.hidden/2.jpg", "a/__MACOSX/3.jpg", "a/Thumbs.db", "a/Desktop.ini"),
            *("b/1.jpg", ".ipynb_checkpoints/4.jpg", "__MACOSX/a/5.jpg", ".DS_Store", "desktop.ini"),
        )
        found = scan(root)
        assert found.paths == ("a/1.jpg", "b/1.jpg")
        assert found.ignored == found.empty_classes == ()

    def test_names_are_data(self, tmp_path: Path) -> None:
        names = [
            "<script>alert(1)",
            " two  blanks ",
            "Ünïcödé",
            "猫",
            "a\nb",
            "100%",
            "[b]",
        ]
        found = scan(plant(tmp_path / "photos", *(f"{name}/{name}.jpg" for name in names)))
        assert set(found.class_names) == set(names)
        assert all(
            path.startswith(f"{found.class_names[label]}/")
            for path, label in zip(found.paths, found.labels, strict=True)
        )

    @settings(max_examples=25, deadline=None)
    @given(
        st.sets(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=9).filter(
                lambda name: not name.startswith(".") and name.lower() not in LITTER and len(name.encode()) < 90
            ),
            min_size=2,
            max_size=6,
        )
    )
    def test_any_names_in_an_order_of_their_own(
        self, tmp_path_factory: pytest.TempPathFactory, names: set[str]
    ) -> None:
        root = tmp_path_factory.mktemp("photos")
        found = scan(plant(root, *(f"{name}/{other}.jpg" for name in names for other in names)))
        order = sorted(names, key=lambda name: (unicodedata.normalize("NFC", name), name))
        assert found.class_names == tuple(order)
        assert found.labels == tuple(sorted(found.labels))
        assert len(set(found.paths)) == len(found.paths) == len(names) ** 2
        for path, label in zip(found.paths, found.labels, strict=True):
            assert path.startswith(f"{order[label]}/")
            assert (root / path).is_file()

    def test_order_ignores_locale_case_rules_and_normalisation(self, tmp_path: Path) -> None:
        composed, decomposed = "\u00e9", "e\u0301"
        expected = ("B", "Z", "a", "z", "ä")
        for name in (composed, decomposed):
            root = plant(tmp_path / f"photos{len(name)}", *(f"{each}/1.jpg" for each in (*expected, name, "ñ")))
            before = locale.setlocale(locale.LC_COLLATE)
            try:
                locale.setlocale(locale.LC_COLLATE, "")
                assert scan(root).class_names == (*expected, name, "ñ")
            finally:
                locale.setlocale(locale.LC_COLLATE, before)

    def test_a_relative_folder_gives_the_same_lists(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(tmp_path / "photos", "a/1.jpg", "b/x/2.jpg")
        monkeypatch.chdir(tmp_path)
        assert scan(Path("photos")).paths == ("a/1.jpg", "b/x/2.jpg")
        monkeypatch.chdir(tmp_path / "photos")
        assert scan(Path()).paths == ("a/1.jpg", "b/x/2.jpg")


class TestLinks:
    def test_are_followed(self, tmp_path: Path) -> None:
        store = plant(tmp_path / "store", "birds/1.jpg", "2.jpg")
        root = plant(tmp_path / "photos", "a/0.jpg", "b/0.jpg")
        (root / "bird").symlink_to(store / "birds", target_is_directory=True)
        (root / "a" / "more").symlink_to(store / "birds", target_is_directory=True)
        (root / "b" / "2.jpg").symlink_to(store / "2.jpg")
        (tmp_path / "alias").symlink_to(root, target_is_directory=True)
        expected = ("a/0.jpg", "a/more/1.jpg", "b/0.jpg", "b/2.jpg", "bird/1.jpg")
        assert scan(root).paths == scan(tmp_path / "alias").paths == expected

    def test_loops_end_and_nothing_counts_twice(self, tmp_path: Path) -> None:
        root = plant(tmp_path / "photos", "a/x/1.jpg", "a/y/2.jpg", "b/3.jpg")
        for link, target in {
            "a/self": "a",
            "a/root": ".",
            "a/above": "..",
            "a/x/across": "a/y",
            "a/y/across": "a/x",
            "b/deep": "b",
            "whole": ".",
        }.items():
            (root / link).symlink_to((root / target).resolve(), target_is_directory=True)
        (root / "b" / "me.jpg").symlink_to(root / "b" / "me.jpg")
        found = scan(root)
        assert found.class_names == ("a", "b")
        assert len(found.paths) == 3
        assert {(root / path).resolve() for path in found.paths} == {
            root.resolve() / path for path in ("a/x/1.jpg", "a/y/2.jpg", "b/3.jpg")
        }
        assert found.ignored == ("b/me.jpg", "whole")

    def test_links_to_nowhere_and_pipes_are_ignored(self, tmp_path: Path) -> None:
        root = plant(tmp_path / "photos", "a/1.jpg", "b/2.jpg")
        (root / "a" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
        (root / "gone").symlink_to(tmp_path / "gone")
        os.mkfifo(root / "b" / "pipe.jpg")  # reading it would wait for ever
        found = scan(root)
        assert found.paths == ("a/1.jpg", "b/2.jpg")
        assert found.ignored == ("a/gone.jpg", "b/pipe.jpg", "gone")


class TestComplaints:
    def test_no_such_folder(self, tmp_path: Path) -> None:
        assert complaint(tmp_path / "fotos") == f"There is no folder '{tmp_path}/fotos': check the path."

    @pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz", "Photos.ZIP"])
    def test_an_archive(self, tmp_path: Path, name: str) -> None:
        plant(tmp_path, name)
        assert "is an archive: unpack it and name the folder" in complaint(tmp_path / name)

    def test_a_file(self, tmp_path: Path) -> None:
        plant(tmp_path, "cat.jpg")
        assert "is a file: name a folder that holds" in complaint(tmp_path / "cat.jpg")

    def test_a_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        assert "cannot be read" in complaint(tmp_path / "loop")

    @pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
    @pytest.mark.parametrize("place", [".", "a", "a/deep"])
    def test_no_permission(self, tmp_path: Path, place: str, mode: int) -> None:
        root = plant(tmp_path / "photos", "a/1.jpg", "a/deep/2.jpg", "b/3.jpg")
        closed = root / place
        closed.chmod(mode)
        try:
            if os.access(closed, os.R_OK | os.X_OK):
                pytest.skip("this user may read everything")
            assert complaint(root).startswith(f"No permission to read '{closed}")
        finally:
            closed.chmod(0o700)

    @pytest.mark.parametrize("files", [(), (".hidden", ".ipynb_checkpoints/1.jpg", "Thumbs.db")])
    def test_an_empty_folder(self, tmp_path: Path, files: tuple[str, ...]) -> None:
        assert "is empty: put one folder of photos per class" in complaint(plant(tmp_path / "photos", *files))

    def test_photos_without_class_folders(self, tmp_path: Path) -> None:
        message = complaint(plant(tmp_path / "photos", "cat1.jpg", "dog1.jpg"))
        assert "holds photos but no class folders: move the photos of each class into a folder of its own" in message

    def test_neither_photos_nor_folders(self, tmp_path: Path) -> None:
        assert "holds no class folders" in complaint(plant(tmp_path / "photos", "notes.txt"))

    def test_no_photos_at_all(self, tmp_path: Path) -> None:
        message = complaint(plant(tmp_path / "photos", "a/notes.txt", "b/film.mp4", "c/"))
        assert message.startswith("No photos in the folders of")
        assert ".jpeg" in message

    def test_one_class_only(self, tmp_path: Path) -> None:
        message = complaint(plant(tmp_path / "photos", "cat/1.jpg", "dog/"))
        assert "Only one class with photos" in message
        assert message.endswith("'cat': add a second class folder.")

    def test_one_folder_too_high(self, tmp_path: Path) -> None:
        root = plant(tmp_path / "unpacked", "photos/cat/1.jpg", "photos/dog/1.jpg")
        assert f"name '{root}/photos' if that holds the class folders" in complaint(root)

    @pytest.mark.parametrize(
        ("parts", "named"),
        [
            (("train", "test"), "train"),
            (("Test", "Train", "Val"), "Train"),
            (("valid", "test"), "test"),
            (("train", "validation", "test"), "train"),
            (("train",), "train"),
        ],
    )
    def test_parts_of_a_data_set(self, tmp_path: Path, parts: tuple[str, ...], named: str) -> None:
        root = plant(tmp_path / "photos", *(f"{part}/{name}/1.jpg" for part in parts for name in ("cat", "dog")))
        message = complaint(root)
        assert f"holds parts of a data set ({', '.join(sorted(parts))})" in message
        assert message.endswith(f"such as '{root / named}'.")
        assert scan(root / named).class_names == ("cat", "dog")

    def test_flat_folders_named_like_parts_are_classes(self, tmp_path: Path) -> None:
        assert scan(plant(tmp_path / "photos", "train/1.jpg", "test/1.jpg")).class_names == ("test", "train")

    def test_a_part_among_classes_is_a_class(self, tmp_path: Path) -> None:
        assert scan(plant(tmp_path / "photos", "train/old/1.jpg", "bus/1.jpg")).class_names == (
            "bus",
            "train",
        )

    def test_a_name_that_is_no_unicode(self, tmp_path: Path) -> None:
        root = plant(tmp_path / "photos", "a/1.jpg", "b/1.jpg")
        try:
            Path(os.fsdecode(os.fsencode(root) + b"/a/caf\xe9.jpg")).touch()
        except OSError:
            pytest.skip("this file system takes valid Unicode only")
        assert "'a/caf\\udce9.jpg' in" in complaint(root)
