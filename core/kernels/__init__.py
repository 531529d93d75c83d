"""Operations with a fast and a plain implementation; the plain one is the reference."""
