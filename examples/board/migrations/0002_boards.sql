-- From the least to the most: the order of the values is the order of the roles.
CREATE TYPE member_role AS ENUM ('viewer', 'editor', 'owner');
CREATE TYPE priority AS ENUM ('low', 'normal', 'high');

CREATE TABLE boards (
    id uuid PRIMARY KEY,
    name varchar(100) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE members (
    id uuid PRIMARY KEY,
    board_id uuid NOT NULL REFERENCES boards (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role member_role NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT members_once UNIQUE (board_id, user_id)
);
-- Serves the list of somebody's boards.
CREATE INDEX idx_members_user_id ON members (user_id);

CREATE TABLE columns (
    id uuid PRIMARY KEY,
    board_id uuid NOT NULL REFERENCES boards (id) ON DELETE CASCADE,
    name varchar(60) NOT NULL,
    -- How many cards the column may hold; as many as wanted when NULL.
    card_limit int4 CHECK (card_limit BETWEEN 1 AND 500),
    position int8 NOT NULL
);
CREATE INDEX idx_columns_board_id_position ON columns (board_id, position);

CREATE TABLE cards (
    id uuid PRIMARY KEY,
    column_id uuid NOT NULL REFERENCES columns (id) ON DELETE CASCADE,
    title varchar(200) NOT NULL,
    description text NOT NULL DEFAULT '',
    priority priority NOT NULL DEFAULT 'normal',
    -- Spaced, so that moving a card changes that card alone.
    position int8 NOT NULL,
    due timestamptz,
    -- In hours.
    estimate numeric(8, 2) CHECK (estimate >= 0),
    assignee_id uuid REFERENCES users (id) ON DELETE SET NULL,
    created_by uuid REFERENCES users (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- Deferred, because making room again moves many cards in one statement.
    CONSTRAINT cards_place UNIQUE (column_id, position) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_cards_assignee_id ON cards (assignee_id);

CREATE TABLE comments (
    id uuid PRIMARY KEY,
    card_id uuid NOT NULL REFERENCES cards (id) ON DELETE CASCADE,
    author_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    text varchar(5000) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- Serves the pages of a card's comments, the newest first.
CREATE INDEX idx_comments_card_id_created_at ON comments (card_id, created_at DESC, id DESC);
