"""A Flask application with an SQLAlchemy model over SQLite: what a small service imports."""

import tempfile

from flask import Flask, jsonify
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import NullPool


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


app = Flask(__name__)
# Nothing is pooled: a connection made here, before a fork, must not be used in several processes.
engine = create_engine(f"sqlite:///{tempfile.mkdtemp()}/books.sqlite", poolclass=NullPool)
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Author(name="Ada", books=[Book(title=f"Volume {n}") for n in range(20)]))
    session.commit()


@app.get("/")
def books():
    with Session(engine) as session:
        found = session.scalars(select(Book).join(Book.author).where(Author.name == "Ada")).all()
        return jsonify([{"title": book.title, "author": book.author.name} for book in found])
